//! What users of such libraries suffer from, and the tests that show that ours do not.
//!
//! Each of these tests was seen to fail, or never to end, when the defence it is about was taken out.

use std::{fs, path::Path};

struct Pain {
    /// What hurts elsewhere.
    pain: &'static str,
    /// What is promised here.
    promise: &'static str,
    /// The tests that show it, as `cargo test` prints them; those of another crate after its name.
    shown: &'static [&'static str],
}

const fn pain(pain: &'static str, promise: &'static str, shown: &'static [&'static str]) -> Pain {
    Pain {
        pain,
        promise,
        shown,
    }
}

const PAINS: [Pain; 30] = [
    pain(
        "a stalled handshake blocks or holds the listener",
        "it is made in the connection's own task, has a time limit, and makes way for others",
        &[
            "admission::as_many_silent_peers_as_there_may_be_keep_nobody_out",
            "admission::at_the_limit_of_pending_handshakes_the_oldest_makes_way",
            "admission::a_silent_peer_is_dropped_when_its_time_is_over",
            "admission::a_peer_that_stops_amid_its_hello_is_dropped_when_its_time_is_over",
        ],
    ),
    pain(
        "errors of accept spin, or end the server",
        "for want of descriptors there is a growing pause, told of once; live connections go on",
        &[
            "hostile::descriptors::a_daemon_without_descriptors_rests_serves_who_is_there_and_recovers_by_itself",
            "network::library::a_daemon_short_of_descriptors_pauses_longer_each_time_and_recovers",
            "admission::events::a_shortage_is_told_when_it_begins_and_when_it_is_over_however_often_it_is_tried",
            "admission::events::an_error_that_comes_back_at_once_each_time_is_not_waited_for_without_a_rest",
            "sockets::restart::a_listener_that_fails_is_made_anew_and_live_connections_go_on",
        ],
    ),
    pain(
        "limits are soft, count for one acceptor, or are never given back",
        "one hard permit dies with its connection; at the limit there is a choice; all change live",
        &[
            "admission::port::at_the_limit_of_connections_newcomers_wait_until_one_leaves",
            "admission::limits::at_the_limit_a_newcomer_is_told_when_to_come_back_and_comes_in_when_one_leaves",
            "admission::limits::at_the_limit_a_newcomer_is_closed_if_that_is_asked_for",
            "admission::limits::a_limit_that_is_changed_counts_for_who_comes_then",
            "admission::events::every_connection_of_a_crowd_has_one_end_whoever_ends_the_daemon",
        ],
    ),
    pain(
        "a graceful stop hangs for ever",
        "a drain is back by its time, and says who finished and who was cut",
        &[
            "drain::idle_connections_are_listened_to_and_closed",
            "drain::peers_that_are_deaf_mute_or_gone_hold_nothing_up",
            "drain::a_peer_that_does_not_read_is_cut_by_the_time",
            "drain::a_server_that_does_not_come_to_its_end_is_killed_before_the_time_is_up",
            "drain::load::no_call_in_flight_over_tls_is_lost_by_a_drain_under_load",
        ],
    ),
    pain(
        "certificates cannot rotate without a restart",
        "they do at both ends, checked first, from the next handshake on",
        &[
            "transport::rotation::nobody_notices_that_certificates_rotate",
            "transport::settings::new_certificates_are_used_from_the_next_handshake_on",
            "transport::rotation::files_are_read_again_on_request_and_used_if_they_are_good",
        ],
    ),
    pain(
        "handshakes that fail are invisible",
        "each connection has one event of its end, with its stage and its reason",
        &[
            "admission::events::each_way_to_end_is_one_event_with_its_stage_and_reason",
            "admission::events::each_time_limit_is_one_event_at_its_time_with_its_stage_and_reason",
            "admission::events::a_handshake_that_makes_way_and_one_that_the_daemon_ends_say_so",
        ],
    ),
    pain(
        "slow and silent peers stay for ever",
        "a first packet, a begun packet and a stalled write each have a time limit, by default",
        &[
            "hostile::a_packet_that_is_never_completed_ends_its_connection",
            "network::timeouts::half_a_packet_is_waited_for_until_its_time",
            "network::timeouts::a_peer_that_does_not_read_is_given_up_at_its_time",
            "network::timeouts::a_peer_that_never_sends_a_packet_is_given_up_at_its_time",
        ],
    ),
    pain(
        "starts, stops and restarts race for the port",
        "a start is bound when it returns, suspended it stays so, and nothing is left after a stop",
        &[
            "admission::port::five_hundred_daemons_one_after_the_other_have_the_same_port",
            "admission::port::a_hundred_daemons_one_after_the_other_have_the_same_real_port",
            "admission::port::nothing_is_left_listening_if_the_start_is_dropped_after_the_port_was_bound",
            "drain::a_suspended_daemon_lets_newcomers_wait_and_serves_who_is_there",
        ],
    ),
    pain(
        "the supervisor is the bottleneck, and `init` blocks it",
        "`init` runs in the child's task",
        &[
            "admission::answers::an_init_that_takes_its_time_holds_nobody_else_up",
            "admission::answers::an_init_may_ask_its_own_supervisor_for_a_child",
            "supervisor::many::many_children_are_started_crashed_and_restarted_without_a_trace",
        ],
    ),
    pain(
        "one peer takes all there is",
        "there are limits for each address and for each certificate",
        &[
            "admission::limits::one_greedy_address_cannot_push_out_others",
            "admission::limits::one_certificate_has_so_many_connections_whatever_its_addresses",
            "admission::limits::addresses_of_one_prefix_are_one",
        ],
    ),
    // From here on as in the list they are taken from, whose 11 and 12 are about clients.
    pain(
        "clients do not come back",
        "they heal on every cause",
        &[
            "healing::a_client_outlives_its_daemons_restarts",
            "healing::a_peer_that_resets_or_babbles_is_left_and_tried_again",
            "network::chaos::whatever_happens_calls_end_in_time_and_clients_heal",
        ],
    ),
    pain(
        "clients come back all at once",
        "they are spread at random, and wait longer each time",
        &[
            "network::library::a_client_tries_again_as_its_backoff_says",
            "healing::the_back_off_begins_anew_after_a_connection_that_was_stable",
            "network::herd::many_clients_do_not_reconnect_at_once",
        ],
    ),
    pain(
        "a packet that is too large is a riddle",
        "it is refused before it is sent, and both ends name its size and the limit",
        &[
            "calls::call_over_the_payload_limit_is_not_sent_and_fails_with_size_and_limit",
            "calls::call_over_the_servers_payload_limit_is_lost_and_last_disconnect_says_why",
            "calls::reply_over_the_payload_limit_fails_its_call_and_keeps_the_connection",
            "hostile::a_broken_frame_is_told_why_and_its_connection_ends",
        ],
    ),
    pain(
        "who is calling?",
        "address and certificate are at hand in `init` and in every callback",
        &[
            "admission::start::init_sees_whom_the_peers_certificate_names",
            "admission::start::handlers_see_whom_the_peers_certificate_names",
        ],
    ),
    pain(
        "pushes have no flow control",
        "one who pushes waits for a peer that does not read, or is told so",
        &[
            "stubborn::a_push_waits_for_a_peer_that_does_not_read_and_try_push_says_so_instead",
            "push::server_stops_reading_from_a_peer_that_does_not_read_its_pushes",
            "hostile::memory::pushes_of_many_at_once_take_turns_and_are_bounded_by_bytes",
        ],
    ),
    pain(
        "slow consumers flood memory",
        "what waits is bounded by bytes, and who does not read is not read from, and then dropped",
        &[
            "hostile::a_peer_that_reads_nothing_is_dropped_and_costs_bounded_memory",
            "hostile::memory::replies_to_a_peer_that_does_not_read_are_bounded_by_bytes_and_each_call_has_an_answer",
            "hostile::memory::a_long_refusal_has_no_more_room_than_a_reply",
        ],
    ),
    pain(
        "connections that are half open are never noticed",
        "the system asks after silent peers, and gives up on those who acknowledge nothing",
        &[
            "transport::options::the_system_asks_after_idle_peers_on_both_ends_unless_told_not_to",
            "network::timeouts::both_ends_of_an_idle_connection_that_is_dead_find_out_by_keepalive",
            "network::timeouts::a_client_that_sends_gives_a_vanished_server_up_when_the_user_timeout_is_over",
        ],
    ),
    pain(
        "time-outs lie, late replies find a caller, and errors are one",
        "each call has one outcome, by its deadline, which says what the other side may have done",
        &[
            "calls::call_returns_a_reply_before_its_deadline_and_times_out_after_it",
            "calls::call_without_a_reply_times_out_and_its_late_reply_is_discarded",
            "calls::call_queued_until_its_deadline_is_never_sent",
            "local::local_call_returns_the_error_that_matches_its_failure",
            "local::local_call_fails_with_the_exit_reason_when_its_reply_to_is_held_elsewhere",
            "chaos::promises_are_kept_whatever_goes_wrong",
        ],
    ),
    pain(
        "nobody notices that the other end has gone",
        "both ends have one end of a connection, with its reason; the bytes are the original's",
        &[
            "healing::a_client_tells_what_took_its_last_connection",
            "healing::a_client_tells_what_the_server_said_last_before_it_closed",
            "supervisor::pairs::when_the_client_is_killed_its_server_ends_as_disconnected",
            "erps-wire::packet::every_golden_packet_is_encoded_byte_for_byte",
            "erps-wire::packet::every_golden_packet_decodes_to_what_was_encoded",
        ],
    ),
    pain(
        "a supervisor that does not supervise",
        "all of OTP's contract, panics and escalation included",
        &[
            "supervisor::a_child_is_restarted_as_its_type_and_its_end_say",
            "supervisor::ordered::the_restart_type_and_the_end_decide_who_is_started_again",
            "supervisor::ordered::the_strategy_decides_who_goes_along",
            "supervisor::ordered::escalation_goes_up_to_the_top",
        ],
    ),
    pain(
        "a restart overlaps its predecessor, or never comes",
        "a child starts when the one before it is wholly gone, whatever is asked meanwhile",
        &[
            "supervisor::a_new_child_starts_only_when_the_old_one_is_wholly_gone",
            "supervisor::ordered::a_new_child_starts_only_when_the_old_one_is_wholly_gone",
            "supervisor::races::commands_and_restarts_in_any_order_leave_one_of_each_at_most_and_none_at_the_end",
        ],
    ),
    pain(
        "names are left behind",
        "a name is a guard that its task owns, in its universe",
        &[
            "supervisor::links::a_name_is_free_the_moment_its_task_is_gone",
            "supervisor::links::who_fails_in_init_never_has_the_name",
            "supervisor::races::a_name_has_one_owner_who_lives_and_is_free_when_that_is_gone",
            "universe::registry::a_name_is_free_as_soon_as_its_owner_has_panicked",
        ],
    ),
    pain(
        "mailboxes grow without bound",
        "they have a limit, at which senders wait; a server that is busy is not read for",
        &[
            "local::call_and_cast_wait_while_the_mailbox_is_full",
            "hostile::a_server_that_is_busy_is_not_read_from_and_loses_nothing",
        ],
    ),
    pain(
        "a child that crashes again and again takes all down",
        "restarts may wait, longer each time; the servers of connections are not restarted",
        &[
            "supervisor::events::a_restart_may_wait_and_is_spoken_of_before_it_does",
            "supervisor::ordered::growing_delays_begin_anew_after_a_stable_while",
            "calls::panic_in_a_handler_stops_only_its_own_server",
        ],
    ),
    pain(
        "children are killed before they can clean up",
        "`terminate` runs, and has the time of the child's shutdown",
        &[
            "handles::a_daemon_that_is_shut_down_lets_its_servers_terminate_first",
            "supervisor::end::a_child_has_five_seconds_to_end_unless_its_spec_says_otherwise",
            "supervisor::ordered::shutdown_gives_a_child_its_time_and_then_kills_it",
        ],
    ),
    pain(
        "a library is tied to one runtime",
        "its futures need none: smol, tokio, or a plain thread may wait for them",
        &[
            "executors::everything_works_from_smol",
            "executors::everything_works_from_a_tokio_runtime",
            "executors::everything_works_on_a_thread_with_no_runtime",
            "executors::callers_are_woken_by_the_librarys_tasks_and_never_by_sockets_or_timers",
        ],
    ),
    pain(
        "what a process has once makes its tests flaky, or one after the other",
        "statics, names, configuration, clock and ports are each test's own",
        &[
            "universe::many::over_smol",
            "universe::many::over_tokio",
            "universe::many::over_threads",
            "network::parallel_tests_may_all_bind_the_same_port",
        ],
    ),
    pain(
        "errors of ownership do not help, and identity is lost at the second hop",
        "every spawn inherits; the error of a strict static names who spawned whom, and the cure",
        &[
            "universe::ancestry::a_server_that_was_not_forwarded_names_connection_daemon_and_test",
            "universe::strict::what_was_spawned_without_its_universe_is_told_what_to_do",
            "universe::strict::what_inherited_no_universe_is_told_who_spawned_it",
            "wormhole::a_restarted_server_is_in_its_universe_too",
        ],
    ),
    pain(
        "to know that something is ready takes a sleep",
        "what has been started is ready; `until` waits for what a tree or a status is to be",
        &[
            "supervisor::tree::until_gives_up_in_time_and_shows_what_it_saw",
            "healing::a_client_may_be_started_before_its_daemon",
        ],
    ),
    pain(
        "the end of a test is noisy",
        "a clean one is silent; what is left behind makes it fail, and is told with where it was made",
        &[
            "universe::ending::a_run_that_leaves_nothing_is_silent",
            "universe::ending::a_daemon_that_nobody_ends_is_told_with_its_supervisor",
            "universe::ending::a_remote_call_that_nobody_answers_is_told_by_who_asks_whom_for_what",
            "universe::ending::what_is_cancelled_is_dropped_in_its_universe_and_starts_nothing_any_more",
        ],
    ),
];

#[test]
fn each_promise_is_kept_by_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for Pain {
        pain,
        promise,
        shown,
    } in PAINS
    {
        assert!(!shown.is_empty(), "nobody shows that {promise}");
        for test in shown {
            let (modules, name) = test.rsplit_once("::").unwrap();
            let (package, modules) = match modules.split_once("::") {
                Some((first, rest)) if root.join("crates").join(first).exists() => {
                    (root.join("crates").join(first), rest)
                }
                _ => (root.to_owned(), modules),
            };
            let file = package.join("tests/it").join(modules.replace("::", "/"));
            let file = file.with_extension("rs");
            let text = fs::read_to_string(&file);
            let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let (before, _) = text
                .split_once(&format!("fn {name}()"))
                .unwrap_or_else(|| panic!("{pain}: there is no test {test}"));
            let attributes = before.rsplit("\n\n").next().unwrap();
            let runs = attributes.contains("test") && !attributes.contains("ignore");
            assert!(runs, "{pain}: {test} is not run");
        }
    }
}
