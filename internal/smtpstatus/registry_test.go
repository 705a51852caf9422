package smtpstatus

import (
	"strings"
	"testing"
)

// registered is the whole registry, with the meanings in snake_case.
var registered = map[string]string{
	"0.0": "other_undefined_status",

	"1.0":  "other_address_status",
	"1.1":  "bad_destination_mailbox_address",
	"1.2":  "bad_destination_system_address",
	"1.3":  "bad_destination_mailbox_address_syntax",
	"1.4":  "destination_mailbox_address_ambiguous",
	"1.5":  "destination_address_valid",
	"1.6":  "destination_mailbox_has_moved",
	"1.7":  "bad_senders_mailbox_address_syntax",
	"1.8":  "bad_senders_system_address",
	"1.9":  "message_relayed_to_non_compliant_mailer",
	"1.10": "recipient_address_has_null_mx",

	"2.0": "other_or_undefined_mailbox_status",
	"2.1": "mailbox_disabled",
	"2.2": "mailbox_full",
	"2.3": "message_length_exceeds_administrative_limit",
	"2.4": "mailing_list_expansion_problem",

	"3.0": "other_or_undefined_mail_system_status",
	"3.1": "mail_system_full",
	"3.2": "system_not_accepting_network_messages",
	"3.3": "system_not_capable_of_selected_features",
	"3.4": "message_too_big_for_system",
	"3.5": "system_incorrectly_configured",
	"3.6": "requested_priority_was_changed",

	"4.0": "other_or_undefined_network_or_routing_status",
	"4.1": "no_answer_from_host",
	"4.2": "bad_connection",
	"4.3": "directory_server_failure",
	"4.4": "unable_to_route",
	"4.5": "mail_system_congestion",
	"4.6": "routing_loop_detected",
	"4.7": "delivery_time_expired",

	"5.0": "other_or_undefined_protocol_status",
	"5.1": "invalid_command",
	"5.2": "syntax_error",
	"5.3": "too_many_recipients",
	"5.4": "invalid_command_arguments",
	"5.5": "wrong_protocol_version",
	"5.6": "authentication_exchange_line_is_too_long",

	"6.0":  "other_or_undefined_media_error",
	"6.1":  "media_not_supported",
	"6.2":  "conversion_required_and_prohibited",
	"6.3":  "conversion_required_but_not_supported",
	"6.4":  "conversion_with_loss_performed",
	"6.5":  "conversion_failed",
	"6.6":  "message_content_not_available",
	"6.7":  "non_ascii_addresses_not_permitted",
	"6.8":  "utf_8_string_reply_required_but_not_permitted",
	"6.9":  "utf_8_header_message_cannot_be_transferred",
	"6.10": "utf_8_string_reply_required_but_not_permitted",

	"7.0":  "other_or_undefined_security_status",
	"7.1":  "delivery_not_authorized_message_refused",
	"7.2":  "mailing_list_expansion_prohibited",
	"7.3":  "security_conversion_required_but_not_possible",
	"7.4":  "security_features_not_supported",
	"7.5":  "cryptographic_failure",
	"7.6":  "cryptographic_algorithm_not_supported",
	"7.7":  "message_integrity_failure",
	"7.8":  "authentication_credentials_invalid",
	"7.9":  "authentication_mechanism_too_weak",
	"7.10": "encryption_needed",
	"7.11": "encryption_required_for_requested_authentication_mechanism",
	"7.12": "password_transition_needed",
	"7.13": "user_account_disabled",
	"7.14": "trust_relationship_required",
	"7.15": "priority_level_too_low",
	"7.16": "message_too_big_for_the_specified_priority",
	"7.17": "mailbox_owner_has_changed",
	"7.18": "domain_owner_has_changed",
	"7.19": "rrvs_test_cannot_be_completed",
	"7.20": "no_passing_dkim_signature_found",
	"7.21": "no_acceptable_dkim_signature_found",
	"7.22": "no_valid_author_matched_dkim_signature_found",
	"7.23": "spf_validation_failed",
	"7.24": "spf_validation_error",
	"7.25": "reverse_dns_validation_failed",
	"7.26": "multiple_authentication_checks_failed",
	"7.27": "sender_address_has_null_mx",
	"7.28": "mail_flood_detected",
	"7.29": "arc_validation_failure",
	"7.30": "requiretls_support_required",
}

func snakeCase(meaning string) string {
	words := strings.FieldsFunc(strings.ReplaceAll(strings.ToLower(meaning), "'", ""), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return strings.Join(words, "_")
}

func TestRegistry(t *testing.T) {
	for _, class := range []string{"2", "4", "5"} {
		for key, want := range registered {
			e, ok := ParseEnhanced(class + "." + key)
			if !ok {
				t.Fatalf("%s.%s is refused", class, key)
			}
			meaning, ok := e.Meaning()
			if !ok || snakeCase(meaning) != want {
				t.Errorf("%s.Meaning() = %q, %v, which makes %q, want %q", e, meaning, ok, snakeCase(meaning), want)
			}
		}
	}
}

// TestMeaningOfUnregistered shows that the registry has no other rows, and that looking up what is
// not in it ends at the bounds of its tables.
func TestMeaningOfUnregistered(t *testing.T) {
	for subject := range uint16(20) {
		for detail := range uint16(100) {
			e := Enhanced{5, subject, detail}
			_, want := registered[e.String()[len("5."):]]
			if meaning, ok := e.Meaning(); ok != want || (meaning == "") == ok {
				t.Fatalf("%s.Meaning() = %q, %v, want %v", e, meaning, ok, want)
			}
		}
	}
	for _, e := range []Enhanced{{}, {5, 65535, 0}, {5, 0, 65535}, {5, 65535, 65535}} {
		if meaning, ok := e.Meaning(); ok || meaning != "" {
			t.Errorf("%#v.Meaning() = %q, %v", e, meaning, ok)
		}
	}
}

// An unregistered detail means what its subject's row 0 does.
func TestRegistrySubjectsBeginWithOther(t *testing.T) {
	for subject, details := range registry {
		if !strings.HasPrefix(details[0].meaning, "Other ") {
			t.Errorf("X.%d.0 is %q", subject, details[0].meaning)
		}
	}
}
