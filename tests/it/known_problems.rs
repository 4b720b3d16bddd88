//! Known problems of such libraries, and the tests that show that this library does not have them.
//!
//! Each of these tests was seen to fail or hang with the defence in question removed.

use std::{fs, path::Path};

struct Problem {
    /// The problem elsewhere.
    problem: &'static str,
    /// The guarantee of this library.
    guarantee: &'static str,
    /// The tests that show it, as printed by `cargo test`; tests of another crate start with its name.
    tests: &'static [&'static str],
}

const fn problem(
    problem: &'static str,
    guarantee: &'static str,
    tests: &'static [&'static str],
) -> Problem {
    Problem {
        problem,
        guarantee,
        tests,
    }
}

const PROBLEMS: [Problem; 30] = [
    problem(
        "a stalled handshake blocks or holds the listener",
        "it runs in the connection's own task, with a timeout, and the oldest is evicted at the limit",
        &[
            "admission::client_is_accepted_while_silent_peers_fill_the_pending_handshakes",
            "admission::oldest_handshake_is_evicted_at_the_limit_of_pending_handshakes",
            "admission::silent_peer_is_closed_at_the_handshake_timeout",
            "admission::peer_that_stops_within_its_client_hello_is_closed_at_the_handshake_timeout",
        ],
    ),
    problem(
        "accept errors busy-loop or stop the server",
        "out of descriptors, accepting pauses for growing delays with one event; connections stay open",
        &[
            "hostile::descriptors::daemon_out_of_descriptors_pauses_accepting_serves_its_connections_and_recovers",
            "network::library::accept_pauses_grow_while_descriptors_are_exhausted",
            "admission::events::descriptor_shortage_emits_one_pause_and_one_resume_event",
            "admission::events::persistent_accept_error_pauses_with_growing_delays",
            "sockets::restart::failed_listener_is_rebound_and_connections_stay_open",
        ],
    ),
    problem(
        "limits are soft, per acceptor, or leak",
        "each connection holds one permit until it closes; limits and policy can be changed at runtime",
        &[
            "admission::port::connection_over_the_limit_waits_in_the_backlog_until_one_closes",
            "admission::limits::connection_over_the_limit_receives_retry_after_and_is_accepted_when_one_closes",
            "admission::limits::connection_over_the_limit_is_closed_with_at_limit_close",
            "admission::limits::changed_connection_limit_applies_to_new_connections",
            "admission::events::each_of_many_connections_emits_one_closed_event_however_the_daemon_exits",
        ],
    ),
    problem(
        "a graceful shutdown hangs forever",
        "a drain returns within its timeout and reports finished and cut connections",
        &[
            "drain::drain_closes_idle_connections_after_the_time_of_listening",
            "drain::drain_is_not_delayed_by_silent_or_disconnected_peers",
            "drain::drain_cuts_a_peer_that_does_not_read_at_its_timeout",
            "drain::drain_kills_a_server_that_does_not_stop_before_its_timeout",
            "drain::load::drain_under_load_over_tls_loses_no_call_in_flight",
        ],
    ),
    problem(
        "certificates cannot rotate without a restart",
        "both ends rotate them, after a check, from the next handshake on",
        &[
            "transport::rotation::certificates_rotate_under_load_without_a_failed_call",
            "transport::settings::rotated_certificates_are_used_from_the_next_handshake",
            "transport::rotation::reload_reads_the_files_and_keeps_the_old_certificate_on_errors",
        ],
    ),
    problem(
        "failed handshakes are invisible",
        "each connection emits one closed event with its stage and reason",
        &[
            "admission::events::closed_event_reports_stage_and_reason",
            "admission::events::each_timeout_emits_closed_at_its_time_with_stage_and_reason",
            "admission::events::closed_event_reports_evicted_handshakes_and_a_stopped_daemon",
        ],
    ),
    problem(
        "slow and silent peers stay connected forever",
        "the first packet, an incomplete packet and a stalled write have timeouts by default",
        &[
            "hostile::packet_timeout_closes_a_connection_with_an_incomplete_packet",
            "network::timeouts::packet_timeout_closes_a_connection_with_half_a_packet",
            "network::timeouts::write_timeout_closes_a_connection_whose_peer_does_not_read",
            "network::timeouts::idle_timeout_closes_a_peer_that_sends_no_packet",
        ],
    ),
    problem(
        "starts, stops and restarts race for the port",
        "start returns with a bound port, suspend keeps it, and shutdown releases it",
        &[
            "admission::port::five_hundred_daemons_reuse_one_port",
            "admission::port::hundred_daemons_reuse_one_real_port",
            "admission::port::start_dropped_after_bind_leaves_no_listener",
            "drain::suspended_daemon_accepts_no_connections_and_serves_existing_ones",
        ],
    ),
    problem(
        "the supervisor is the bottleneck, and `init` blocks it",
        "`init` runs in the child's task",
        &[
            "admission::answers::slow_init_does_not_delay_other_connections",
            "admission::answers::init_can_start_a_child_under_its_own_supervisor",
            "supervisor::leaks::many_children_are_restarted_and_shut_down_without_leaks",
        ],
    ),
    problem(
        "one peer uses up all connections",
        "there are limits for each address and for each certificate",
        &[
            "admission::limits::limit_per_address_leaves_room_for_other_addresses",
            "admission::limits::limit_per_certificate_counts_all_its_addresses",
            "admission::limits::limit_per_address_counts_addresses_by_prefix",
        ],
    ),
    // From here on in the order of the list they are taken from, whose 11 and 12 are about clients.
    problem(
        "clients do not reconnect",
        "they reconnect after every cause",
        &[
            "reconnect::client_reconnects_after_restarts_of_its_daemon",
            "reconnect::client_reconnects_after_a_reset_or_invalid_data",
            "network::chaos::calls_end_in_time_and_clients_reconnect_under_random_faults",
        ],
    ),
    problem(
        "clients reconnect all at once",
        "the backoff is randomised and grows",
        &[
            "network::library::reconnects_follow_the_backoff",
            "reconnect::backoff_resets_after_a_stable_connection",
            "network::herd::jitter_spreads_reconnects_of_many_clients",
        ],
    ),
    problem(
        "errors about large packets do not name the limit",
        "it is rejected before it is sent, and both ends name its size and the limit",
        &[
            "calls::call_over_the_payload_limit_is_not_sent_and_fails_with_size_and_limit",
            "calls::call_over_the_servers_payload_limit_is_lost_and_last_disconnect_says_why",
            "calls::reply_over_the_payload_limit_fails_its_call_and_keeps_the_connection",
            "hostile::malformed_frame_receives_an_error_and_closes_the_connection",
        ],
    ),
    problem(
        "handlers do not know the peer",
        "address and certificate are available in `init` and every callback",
        &[
            "admission::start::init_receives_the_identity_from_the_peers_certificate",
            "admission::start::handlers_receive_the_identity_from_the_peers_certificate",
        ],
    ),
    problem(
        "pushes have no flow control",
        "a push waits while the peer does not read, and `try_push` fails instead",
        &[
            "unresponsive::push_waits_and_try_push_fails_with_full_while_the_peer_does_not_read",
            "push::server_stops_reading_from_a_peer_that_does_not_read_its_pushes",
            "hostile::memory::concurrent_pushes_wait_for_queue_space_and_are_bounded_in_bytes",
        ],
    ),
    problem(
        "slow consumers use unbounded memory",
        "queues are bounded in bytes; a peer that does not read is not read from, and times out",
        &[
            "hostile::write_timeout_closes_a_peer_that_reads_nothing_and_bounds_its_memory",
            "hostile::memory::unread_replies_are_bounded_in_bytes_and_every_call_is_answered",
            "hostile::memory::error_messages_count_against_the_queue_limit_like_replies",
        ],
    ),
    problem(
        "half-open connections are never detected",
        "TCP keepalive and user timeout detect peers that do not acknowledge",
        &[
            "transport::options::tcp_keepalive_is_set_on_both_ends_unless_disabled",
            "network::timeouts::keepalive_closes_both_ends_of_a_dead_idle_connection",
            "network::timeouts::user_timeout_closes_a_client_of_a_vanished_server",
        ],
    ),
    problem(
        "timeouts are imprecise, late replies reach the wrong caller, and errors are all alike",
        "each call has one outcome by its deadline, which says whether it may have run",
        &[
            "calls::call_returns_a_reply_before_its_deadline_and_times_out_after_it",
            "calls::call_without_a_reply_times_out_and_its_late_reply_is_discarded",
            "calls::call_queued_until_its_deadline_is_never_sent",
            "local::local_call_returns_the_error_that_matches_its_failure",
            "local::local_call_fails_with_the_exit_reason_when_its_reply_to_is_held_elsewhere",
            "chaos::invariants_hold_under_random_faults",
        ],
    ),
    problem(
        "a disconnect is not reported",
        "both ends report one disconnect with its reason; the bytes are those of Elixir's erps",
        &[
            "reconnect::last_disconnect_reports_the_reason",
            "reconnect::last_disconnect_reports_the_servers_last_error",
            "supervisor::client_and_daemon::server_terminates_with_disconnected_when_its_client_is_killed",
            "erps-wire::packet::golden_packets_are_encoded_byte_for_byte",
            "erps-wire::packet::golden_packets_decode_to_their_fields",
        ],
    ),
    problem(
        "a supervisor that does not supervise",
        "all of OTP's contract, panics and escalation included",
        &[
            "supervisor::restart_type_and_exit_reason_decide_whether_a_child_is_restarted",
            "supervisor::ordered::restart_type_and_exit_reason_decide_whether_a_child_is_restarted",
            "supervisor::ordered::strategy_decides_which_children_are_restarted",
            "supervisor::ordered::failure_escalates_through_every_level",
        ],
    ),
    problem(
        "a restart overlaps the old task, or never happens",
        "a child is restarted after its old task was dropped, whatever commands arrive meanwhile",
        &[
            "supervisor::child_is_restarted_after_its_old_task_was_dropped",
            "supervisor::ordered::one_for_all_restarts_after_all_children_have_exited",
            "supervisor::races::random_commands_and_restarts_leave_at_most_one_task_per_child_and_none_after_shutdown",
        ],
    ),
    problem(
        "names leak",
        "a registration is owned by its task, per universe",
        &[
            "supervisor::links::name_is_free_when_its_server_has_exited",
            "supervisor::links::server_that_fails_in_init_is_not_registered",
            "supervisor::races::name_has_at_most_one_live_owner_and_is_free_after_its_exit",
            "test-universe::universe::registry::name_is_unregistered_when_its_owner_panics",
        ],
    ),
    problem(
        "mailboxes grow without bound",
        "senders wait at the limit; a busy server stops reading from its connection",
        &[
            "local::call_and_cast_wait_while_the_mailbox_is_full",
            "hostile::busy_server_pauses_reading_and_loses_no_packet",
        ],
    ),
    problem(
        "a crash loop stops the whole tree",
        "restart delays can grow; servers of connections are not restarted",
        &[
            "supervisor::events::child_restarting_is_emitted_before_the_restart_delay",
            "supervisor::ordered::growing_restart_delay_resets_after_a_stable_period",
            "calls::panic_in_a_handler_stops_only_its_own_server",
        ],
    ),
    problem(
        "children are killed before they can clean up",
        "`terminate` runs, for up to the child's shutdown time",
        &[
            "handles::daemon_shutdown_waits_for_terminate_of_its_servers",
            "supervisor::shutdown::shutdown_time_is_five_seconds_by_default",
            "supervisor::ordered::shutdown_kills_a_child_after_its_shutdown_time",
        ],
    ),
    problem(
        "a library is tied to one runtime",
        "its futures need none: they can be awaited from smol, tokio, or a plain thread",
        &[
            "executors::library_works_from_smol",
            "executors::library_works_from_a_tokio_runtime",
            "executors::library_works_on_a_thread_without_runtime",
            "executors::remote_callers_are_woken_only_by_tasks_of_the_library",
        ],
    ),
    problem(
        "process-wide state makes tests flaky or sequential",
        "each test has its own statics, names, configuration, clock and ports",
        &[
            "universe::many::over_smol",
            "universe::many::over_tokio",
            "universe::many::over_threads",
            "network::parallel_tests_can_listen_on_the_same_port",
        ],
    ),
    problem(
        "errors about ownership do not help, and identity is lost at the second spawn",
        "every spawn inherits the universe; errors of strict statics name the spawns and the fix",
        &[
            "universe::ancestry::spawn_trace_of_a_server_names_connection_daemon_and_test",
            "test-universe::universe::strict::strict_static_used_outside_names_the_line_and_the_fix",
            "test-universe::universe::strict::strict_static_used_outside_names_the_known_spawns",
            "universes_over_tcp::restarted_server_keeps_its_universe",
        ],
    ),
    problem(
        "tests sleep until something is ready",
        "`start` returns when ready; `until` waits for a state of a tree or a client",
        &[
            "supervisor::tree::until_times_out_with_the_last_tree",
            "reconnect::client_started_before_its_daemon_connects_later",
        ],
    ),
    problem(
        "the end of a test logs noise",
        "a clean end is silent; leaks fail the test and are reported with where they were created",
        &[
            "universe::leaks::run_without_leaks_logs_nothing",
            "universe::leaks::leaked_daemon_is_reported_with_its_supervisor",
            "universe::leaks::unanswered_remote_call_is_reported_with_peer_server_and_request",
            "universe::leaks::cancelled_child_is_dropped_in_its_universe_and_not_restarted",
        ],
    ),
];

#[test]
fn tests_of_each_guarantee_exist_and_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for Problem {
        problem,
        guarantee,
        tests,
    } in PROBLEMS
    {
        assert!(!tests.is_empty(), "no test for: {guarantee}");
        for test in tests {
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
                .unwrap_or_else(|| panic!("{problem}: there is no test {test}"));
            let attributes = before.rsplit("\n\n").next().unwrap();
            let runs = attributes.contains("test") && !attributes.contains("ignore");
            assert!(runs, "{problem}: {test} is not run");
        }
    }
}
