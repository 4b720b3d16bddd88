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
            "admission::client_is_accepted_while_silent_peers_fill_the_pending_handshakes",
            "admission::oldest_handshake_is_evicted_at_the_limit_of_pending_handshakes",
            "admission::silent_peer_is_closed_at_the_handshake_timeout",
            "admission::peer_that_stops_within_its_client_hello_is_closed_at_the_handshake_timeout",
        ],
    ),
    pain(
        "errors of accept spin, or end the server",
        "for want of descriptors there is a growing pause, told of once; live connections go on",
        &[
            "hostile::descriptors::daemon_out_of_descriptors_pauses_accepting_serves_its_connections_and_recovers",
            "network::library::a_daemon_short_of_descriptors_pauses_longer_each_time_and_recovers",
            "admission::events::descriptor_shortage_emits_one_pause_and_one_resume_event",
            "admission::events::persistent_accept_error_pauses_with_growing_delays",
            "sockets::restart::failed_listener_is_rebound_and_connections_stay_open",
        ],
    ),
    pain(
        "limits are soft, count for one acceptor, or are never given back",
        "one hard permit dies with its connection; at the limit there is a choice; all change live",
        &[
            "admission::port::connection_over_the_limit_waits_in_the_backlog_until_one_closes",
            "admission::limits::connection_over_the_limit_receives_retry_after_and_is_accepted_when_one_closes",
            "admission::limits::connection_over_the_limit_is_closed_with_at_limit_close",
            "admission::limits::changed_connection_limit_applies_to_new_connections",
            "admission::events::each_of_many_connections_emits_one_closed_event_however_the_daemon_exits",
        ],
    ),
    pain(
        "a graceful stop hangs for ever",
        "a drain is back by its time, and says who finished and who was cut",
        &[
            "drain::drain_closes_idle_connections_after_the_time_of_listening",
            "drain::drain_is_not_delayed_by_silent_or_disconnected_peers",
            "drain::drain_cuts_a_peer_that_does_not_read_at_its_timeout",
            "drain::drain_kills_a_server_that_does_not_stop_before_its_timeout",
            "drain::load::drain_under_load_over_tls_loses_no_call_in_flight",
        ],
    ),
    pain(
        "certificates cannot rotate without a restart",
        "they do at both ends, checked first, from the next handshake on",
        &[
            "transport::rotation::certificates_rotate_under_load_without_a_failed_call",
            "transport::settings::rotated_certificates_are_used_from_the_next_handshake",
            "transport::rotation::reload_reads_the_files_and_keeps_the_old_certificate_on_errors",
        ],
    ),
    pain(
        "handshakes that fail are invisible",
        "each connection has one event of its end, with its stage and its reason",
        &[
            "admission::events::closed_event_reports_stage_and_reason",
            "admission::events::each_timeout_emits_closed_at_its_time_with_stage_and_reason",
            "admission::events::closed_event_reports_evicted_handshakes_and_a_stopped_daemon",
        ],
    ),
    pain(
        "slow and silent peers stay for ever",
        "a first packet, a begun packet and a stalled write each have a time limit, by default",
        &[
            "hostile::packet_timeout_closes_a_connection_with_an_incomplete_packet",
            "network::timeouts::half_a_packet_is_waited_for_until_its_time",
            "network::timeouts::a_peer_that_does_not_read_is_given_up_at_its_time",
            "network::timeouts::a_peer_that_never_sends_a_packet_is_given_up_at_its_time",
        ],
    ),
    pain(
        "starts, stops and restarts race for the port",
        "a start is bound when it returns, suspended it stays so, and nothing is left after a stop",
        &[
            "admission::port::five_hundred_daemons_reuse_one_port",
            "admission::port::hundred_daemons_reuse_one_real_port",
            "admission::port::start_dropped_after_bind_leaves_no_listener",
            "drain::suspended_daemon_accepts_no_connections_and_serves_existing_ones",
        ],
    ),
    pain(
        "the supervisor is the bottleneck, and `init` blocks it",
        "`init` runs in the child's task",
        &[
            "admission::answers::slow_init_does_not_delay_other_connections",
            "admission::answers::init_can_start_a_child_under_its_own_supervisor",
            "supervisor::many::many_children_are_restarted_and_shut_down_without_leaks",
        ],
    ),
    pain(
        "one peer takes all there is",
        "there are limits for each address and for each certificate",
        &[
            "admission::limits::limit_per_address_leaves_room_for_other_addresses",
            "admission::limits::limit_per_certificate_counts_all_its_addresses",
            "admission::limits::limit_per_address_counts_addresses_by_prefix",
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
            "hostile::malformed_frame_receives_an_error_and_closes_the_connection",
        ],
    ),
    pain(
        "who is calling?",
        "address and certificate are at hand in `init` and in every callback",
        &[
            "admission::start::init_receives_the_identity_from_the_peers_certificate",
            "admission::start::handlers_receive_the_identity_from_the_peers_certificate",
        ],
    ),
    pain(
        "pushes have no flow control",
        "one who pushes waits for a peer that does not read, or is told so",
        &[
            "stubborn::a_push_waits_for_a_peer_that_does_not_read_and_try_push_says_so_instead",
            "push::server_stops_reading_from_a_peer_that_does_not_read_its_pushes",
            "hostile::memory::concurrent_pushes_wait_for_queue_space_and_are_bounded_in_bytes",
        ],
    ),
    pain(
        "slow consumers flood memory",
        "what waits is bounded by bytes, and who does not read is not read from, and then dropped",
        &[
            "hostile::write_timeout_closes_a_peer_that_reads_nothing_and_bounds_its_memory",
            "hostile::memory::unread_replies_are_bounded_in_bytes_and_every_call_is_answered",
            "hostile::memory::error_messages_count_against_the_queue_limit_like_replies",
        ],
    ),
    pain(
        "connections that are half open are never noticed",
        "the system asks after silent peers, and gives up on those who acknowledge nothing",
        &[
            "transport::options::tcp_keepalive_is_set_on_both_ends_unless_disabled",
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
            "supervisor::pairs::server_terminates_with_disconnected_when_its_client_is_killed",
            "erps-wire::packet::every_golden_packet_is_encoded_byte_for_byte",
            "erps-wire::packet::every_golden_packet_decodes_to_what_was_encoded",
        ],
    ),
    pain(
        "a supervisor that does not supervise",
        "all of OTP's contract, panics and escalation included",
        &[
            "supervisor::restart_type_and_exit_reason_decide_whether_a_child_is_restarted",
            "supervisor::ordered::restart_type_and_exit_reason_decide_whether_a_child_is_restarted",
            "supervisor::ordered::strategy_decides_which_children_are_restarted",
            "supervisor::ordered::failure_escalates_through_every_level",
        ],
    ),
    pain(
        "a restart overlaps its predecessor, or never comes",
        "a child starts when the one before it is wholly gone, whatever is asked meanwhile",
        &[
            "supervisor::child_is_restarted_after_its_old_task_was_dropped",
            "supervisor::ordered::one_for_all_restarts_after_all_children_have_exited",
            "supervisor::races::random_commands_and_restarts_leave_at_most_one_task_per_child_and_none_after_shutdown",
        ],
    ),
    pain(
        "names are left behind",
        "a name is a guard that its task owns, in its universe",
        &[
            "supervisor::links::name_is_free_when_its_server_has_exited",
            "supervisor::links::server_that_fails_in_init_is_not_registered",
            "supervisor::races::name_has_at_most_one_live_owner_and_is_free_after_its_exit",
            "universe::registry::a_name_is_free_as_soon_as_its_owner_has_panicked",
        ],
    ),
    pain(
        "mailboxes grow without bound",
        "they have a limit, at which senders wait; a server that is busy is not read for",
        &[
            "local::call_and_cast_wait_while_the_mailbox_is_full",
            "hostile::busy_server_pauses_reading_and_loses_no_packet",
        ],
    ),
    pain(
        "a child that crashes again and again takes all down",
        "restarts may wait, longer each time; the servers of connections are not restarted",
        &[
            "supervisor::events::child_restarting_is_emitted_before_the_restart_delay",
            "supervisor::ordered::growing_restart_delay_resets_after_a_stable_period",
            "calls::panic_in_a_handler_stops_only_its_own_server",
        ],
    ),
    pain(
        "children are killed before they can clean up",
        "`terminate` runs, and has the time of the child's shutdown",
        &[
            "handles::a_daemon_that_is_shut_down_lets_its_servers_terminate_first",
            "supervisor::end::shutdown_time_is_five_seconds_by_default",
            "supervisor::ordered::shutdown_kills_a_child_after_its_shutdown_time",
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
            "supervisor::tree::until_times_out_with_the_last_tree",
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
