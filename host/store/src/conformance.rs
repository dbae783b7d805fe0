//! The guarantees of [`Store`](crate::Store), as tests that every backend passes: `store_conformance!(factory)`, where
//! `factory` is a `fn() -> Made` that creates an empty database.
//!
//! Time is a literal in each of them; nothing sleeps.
// The name of a test states its guarantee; a comment would repeat it.
#![allow(clippy::unwrap_used, missing_docs)]

pub mod channels;
pub mod claims;
pub mod clocks;
pub mod connecting;
pub mod contacts;
pub mod echoes;
pub mod events;
pub mod inbound;
pub mod keys;
pub mod laws;
pub mod leases;
pub mod ledger;
pub mod nodes;
pub mod outbound;
pub mod rates;
pub mod recovery;
pub mod retention;
pub mod rollout;
pub mod versions;
pub mod window_events;
pub mod work;
pub mod workspaces;
pub(crate) mod world;

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use crate::Store;

/// An empty database, and what must live as long as it: a directory, a server's database.
pub struct Made {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Dropped after it.
    pub keep: Box<dyn Any + Send>,
}

/// Creates an empty database.
pub type Factory = fn() -> Made;

/// Runs one test to its end.
fn run<F: Future>(promise: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(promise)
}

/// One test for each guarantee of the database.
#[macro_export]
macro_rules! store_conformance {
    ($factory:ident) => {
        $crate::store_conformance!(@ $factory, channels:
            a_set_up_is_due_until_it_is_done,
            reconnected_account_keeps_id_and_name,
            operator_change_emits_channel_event,
            credential_round_trips_and_dies_with_channel,
            credentials_are_due_soonest_first,
            a_renewed_credential_recovers_its_channel,
            a_renewal_without_an_end_is_due,
            state_is_written_all_at_once,
            lists_go_on_where_they_stopped,
            a_history_gap_is_kept_until_it_is_read,
        );
        $crate::store_conformance!(@ $factory, connecting:
            a_connect_session_is_taken_once_and_in_time,
            a_connect_session_always_gets_an_end,
            a_taken_session_is_found_until_it_ends,
        );
        $crate::store_conformance!(@ $factory, versions:
            a_version_number_stands_for_one_set_of_bytes,
            a_component_is_kept_with_its_version,
            what_is_kept_in_memory_is_numbered_when_it_changes,
            one_version_of_a_connector_is_active,
        );
        $crate::store_conformance!(@ $factory, keys:
            a_key_is_found_by_its_prefix_until_and_after_it_ends,
            a_configured_key_takes_the_place_of_the_one_before,
            a_session_is_kept_with_its_key_until_it_is_over,
            an_app_keeps_its_secrets_and_when_it_was_first_put,
        );
        $crate::store_conformance!(@ $factory, workspaces:
            other_tenants_see_nothing,
            other_tenants_change_nothing,
            a_workspace_is_made_once_and_listed,
            a_removed_workspace_ends_at_once_and_is_cleared_in_steps,
        );
        $crate::store_conformance!(@ $factory, inbound:
            first_message_opens_conversation_and_window,
            duplicate_webhook_is_stored_once,
            what_was_written_is_found_in_whatever_case_and_page_by_page,
            older_message_does_not_move_window,
            a_platform_clock_ahead_of_ours_does_not_lengthen_the_window,
            older_message_keeps_budget_counts,
            unknown_and_deleted_accounts_are_counted_and_not_kept,
            unknown_event_can_be_replayed_later,
            an_arrival_opens_a_conversation_and_no_window,
            a_referral_is_on_the_first_message_after_it,
            what_was_found_out_of_an_ad_is_kept,
            a_prefilled_text_has_the_state_of_its_newest_referral,
            a_quote_of_an_unknown_message_keeps_the_platforms_id,
            a_reaction_names_our_message,
            a_revoked_authorization_holds_the_channel,
            attachments_are_fetched_and_described,
            lost_attachment_leaves_text,
            history_older_than_the_window_opens_none,
        );
        $crate::store_conformance!(@ $factory, contacts:
            erased_contact_leaves_nothing_and_starts_fresh,
            an_erasure_ends_what_waits_for_the_person,
            an_erasure_finds_the_person_in_documents,
            erasure_keeps_others_texts,
            a_sent_picture_goes_with_its_last_conversation,
            name_change_emits_event_resigned_picture_does_not,
            an_older_name_replaces_none_that_was_confirmed_since,
            message_is_unread_until_viewed_or_answered,
            a_late_echo_of_an_older_message_reads_nothing_newer,
            an_event_without_people_is_its_conversations,
            a_conversation_is_found_by_its_contacts_name,
        );
        $crate::store_conformance!(@ $factory, window_events:
            window_events_fire_before_and_at_close,
            reopened_window_ignores_old_end,
            window_closes_before_the_next_opens,
            moved_window_emits_at_new_end,
            window_events_are_bounded_and_wait_for_rules,
            conversations_close_with_channel_and_reopen,
        );
        $crate::store_conformance!(@ $factory, echoes:
            early_echo_matches_its_message,
            unmatched_echo_merges_on_response,
            a_repeated_echo_is_known_after_a_retry,
            platform_time_decides_budget_window,
            an_echo_settles_an_uncertain_message,
            old_message_with_same_text_is_no_echo,
            a_message_from_the_platforms_app_counts_against_the_budget,
            a_watermark_reads_what_was_sent_before_it_and_nothing_else,
            a_watermark_before_the_answer_is_not_lost,
            an_echo_brings_the_platforms_time_by_which_read_marks_go,
            a_receipt_moves_a_message_only_forward,
        );
        $crate::store_conformance!(@ $factory, claims:
            a_key_is_claimed_once_and_answered_from_the_claim,
            refused_request_may_be_repeated,
            a_claim_of_a_dead_node_is_free_if_nothing_was_written,
            a_request_that_broke_off_is_free_if_nothing_was_written,
        );
        $crate::store_conformance!(@ $factory, rates:
            what_leaves_is_counted_by_all_hosts,
            a_request_is_counted_when_it_arrived_at_the_latest,
            a_pause_holds_all_hosts_and_is_not_shortened,
            a_clock_that_was_set_back_stops_no_rate,
            a_request_that_one_of_its_rates_holds_is_counted_by_none,
        );
        $crate::store_conformance!(@ $factory, nodes:
            every_start_has_an_epoch_of_its_own,
            a_silent_node_is_ended_by_another_and_never_by_itself,
            messages_of_a_dead_node_are_lost_to_the_next_sweep,
            deliveries_of_a_dead_node_are_due,
            what_no_node_holds_stays_when_the_last_one_stops,
            lease_with_lost_response_is_due,
            message_with_lost_lease_is_sent,
            what_a_dead_node_took_late_ends_too,
            leases_of_a_dead_node_end_by_their_own_clock,
            a_heartbeat_from_before_a_step_on_ends_no_node,
            a_duty_is_one_nodes_at_a_time,
            clock_step_is_corrected_once_for_all_nodes,
        );
        $crate::store_conformance!(@ $factory, rollout:
            a_trial_begins_grows_and_ends_with_its_reason,
            state_moves_whole_and_rolls_back,
            an_owner_keeps_its_version_from_retirement,
            an_undone_change_leaves_states_as_they_were,
            nodes_report_loaded_versions,
            a_crash_is_known_to_other_nodes_for_a_while,
            crashes_before_a_stage_change_do_not_count,
            roll_backs_go_on_back,
            a_trial_is_known_after_its_end,
            accounts_are_held_and_freed_with_events,
            transcripts_are_a_ring_and_go_with_their_contact,
        );
        $crate::store_conformance!(@ $factory, retention:
            old_rows_are_deleted_in_steps_pending_stay,
            disabled_endpoint_counts_missed_events,
            a_file_of_an_erased_contact_is_written_down_until_removed,
            expired_attachment_is_marked_on_its_message,
            old_dead_letters_go_oldest_first_and_are_counted_no_more,
            deduplication_keys_live_a_week,
        );
        $crate::store_conformance!(@ $factory, outbound:
            repeated_request_gets_first_response,
            programs_with_one_idempotency_key_do_not_meet,
            an_idempotency_key_is_forgotten_after_a_day,
            messages_of_one_request_are_atomic,
            two_callers_cannot_both_spend_the_last_message,
            failed_messages_return_budget_uncertain_keep_it,
            manual_retry_is_judged_again_by_policy,
            only_what_the_platform_knows_can_be_quoted,
            a_client_ref_stands_once_in_a_channel,
        );
        $crate::store_conformance!(@ $factory, clocks:
            an_echo_dated_by_a_clock_behind_is_matched,
            an_unmatched_message_alike_disproves_absence,
            what_others_sent_or_we_matched_proves_nothing,
            a_stored_echo_settles_once_clocks_are_known,
            ages_follow_a_jump_slowly_and_survive_restarts,
            ends_of_messages_move_with_the_platforms_clock,
            rows_from_the_future_hold_no_older_ones_up,
        );
        $crate::store_conformance!(@ $factory, leases:
            a_conversation_has_one_message_in_flight_in_order,
            a_retry_keeps_those_behind_it_waiting,
            messages_without_a_version_wait_in_order,
            channels_take_turns,
            an_app_without_room_holds_up_no_other,
            a_held_channel_keeps_its_messages,
            what_waits_for_authorization_is_due_when_it_recovers,
            a_lost_lease_writes_nothing,
            expired_lease_is_uncertain_and_blocks_briefly,
            what_waits_past_the_window_fails,
            a_deleted_channel_fails_what_waits,
            an_uncertain_message_is_settled_by_what_was_found,
            what_waits_to_leave_stands_last,
            each_try_is_in_the_ledger,
            what_waits_does_not_wait_longer_when_the_clock_is_set_back,
            leases_survive_clock_set_forward,
        );
        $crate::store_conformance!(@ $factory, events:
            the_log_is_read_in_order_and_by_wish,
            a_longer_log_wakes_who_waits_for_events,
            an_endpoint_gets_what_it_wants_and_only_what_comes_after_it,
            a_failing_event_blocks_only_its_conversation,
            a_lost_delivery_lease_writes_nothing,
            endpoints_take_turns,
            a_slow_endpoint_holds_its_bound_and_no_more,
            endpoint_limits_concurrency_and_rate,
            event_can_be_resent_manually,
            a_filter_without_a_match_reads_a_bounded_page,
            an_erased_events_place_is_known,
            deliveries_do_not_wait_longer_when_the_clock_is_set_back,
        );
        $crate::store_conformance!(@ $factory, recovery:
            missed_events_come_first_on_recovery,
            endpoint_failing_and_recovered_emit_once,
            gone_endpoint_is_disabled_with_event,
            a_recovered_endpoint_gets_what_it_missed,
            a_recovery_takes_bounded_steps_and_nothing_overtakes_it,
            recovered_event_waits_for_leased_one,
            disabled_endpoint_resumes_at_its_position,
            failing_endpoint_emits_before_next_attempt,
        );
        $crate::store_conformance!(@ $factory, ledger:
            dead_letters_are_kept_whole_and_dropped_once,
            dead_letters_at_their_bound_are_refused_and_none_is_lost,
            dead_letter_page_is_filled_after_filtering,
            refusals_and_changes_can_be_looked_up,
            refusals_are_filtered_by_channel,
            store_reports_queue_depths,
            closed_database_is_reported,
        );
        $crate::store_conformance!(@ $factory, work:
            work_is_taken_by_one_node_until_it_ends_or_dies,
            leased_work_not_in_flight_is_freed,
            polled_channel_is_due_as_requested,
            repeated_history_request_keeps_earlier_start,
            uncertain_message_queries_back_off,
        );
        $crate::store_conformance!(@ $factory, laws:
            a_status_only_moves_forward_and_the_budget_is_never_exceeded,
            the_same_facts_in_any_order_and_number_are_the_same_messages,
            facts_in_any_order_are_one_conversation,
            a_contact_is_named_by_the_newest_of_all_its_conversations,
            of_many_callers_only_as_many_are_accepted_as_the_budget_has,
            endpoint_gets_conversation_in_order,
        );
    };
    (@ $factory:ident, $part:ident: $($promise:ident,)*) => {
        mod $part {
            $(
                #[test]
                fn $promise() {
                    $crate::conformance::$part::$promise(super::$factory);
                }
            )*
        }
    };
}
