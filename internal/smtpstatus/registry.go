package smtpstatus

// registration is a row of the IANA registry "Simple Mail Transfer Protocol (SMTP) Enhanced Status Codes". The reason
// is the meaning in snake_case: lower case, apostrophes dropped, every other run of non-alphanumerics one underscore.
// It is written out so that looking it up costs nothing, and a test holds it to that rule. Where a registered text has
// a second clause or goes on for a sentence, the meaning is its first clause: it becomes a label on a dashboard.
type registration struct{ meaning, reason string }

// registry is the whole registry, by subject and by detail; the class is no part of a registration (RFC 3463 section
// 3). Each subject's details are contiguous and begin with 0, its "other or undefined". Comments name the RFC that
// registered a row. Rows are only ever added, since the reasons are what dashboards and alerts filter by.
var registry = [...][]registration{
	0: { // Other or undefined status: RFC 3463 section 3.1
		0: {"Other undefined Status", "other_undefined_status"},
	},
	1: { // Addressing status: RFC 3463 section 3.2
		0:  {"Other address status", "other_address_status"},
		1:  {"Bad destination mailbox address", "bad_destination_mailbox_address"},
		2:  {"Bad destination system address", "bad_destination_system_address"},
		3:  {"Bad destination mailbox address syntax", "bad_destination_mailbox_address_syntax"},
		4:  {"Destination mailbox address ambiguous", "destination_mailbox_address_ambiguous"},
		5:  {"Destination address valid", "destination_address_valid"},
		6:  {"Destination mailbox has moved", "destination_mailbox_has_moved"},
		7:  {"Bad sender's mailbox address syntax", "bad_senders_mailbox_address_syntax"},
		8:  {"Bad sender's system address", "bad_senders_system_address"},
		9:  {"Message relayed to non-compliant mailer", "message_relayed_to_non_compliant_mailer"}, // RFC 3886
		10: {"Recipient address has null MX", "recipient_address_has_null_mx"},                     // RFC 7505
	},
	2: { // Mailbox status: RFC 3463 section 3.3
		0: {"Other or undefined mailbox status", "other_or_undefined_mailbox_status"},
		1: {"Mailbox disabled", "mailbox_disabled"},
		2: {"Mailbox full", "mailbox_full"},
		3: {"Message length exceeds administrative limit", "message_length_exceeds_administrative_limit"},
		4: {"Mailing list expansion problem", "mailing_list_expansion_problem"},
	},
	3: { // Mail system status: RFC 3463 section 3.4
		0: {"Other or undefined mail system status", "other_or_undefined_mail_system_status"},
		1: {"Mail system full", "mail_system_full"},
		2: {"System not accepting network messages", "system_not_accepting_network_messages"},
		3: {"System not capable of selected features", "system_not_capable_of_selected_features"},
		4: {"Message too big for system", "message_too_big_for_system"},
		5: {"System incorrectly configured", "system_incorrectly_configured"},
		6: {"Requested priority was changed", "requested_priority_was_changed"}, // RFC 6710
	},
	4: { // Network and routing status: RFC 3463 section 3.5
		0: {"Other or undefined network or routing status", "other_or_undefined_network_or_routing_status"},
		1: {"No answer from host", "no_answer_from_host"},
		2: {"Bad connection", "bad_connection"},
		3: {"Directory server failure", "directory_server_failure"},
		4: {"Unable to route", "unable_to_route"},
		5: {"Mail system congestion", "mail_system_congestion"},
		6: {"Routing loop detected", "routing_loop_detected"},
		7: {"Delivery time expired", "delivery_time_expired"},
	},
	5: { // Mail delivery protocol status: RFC 3463 section 3.6
		0: {"Other or undefined protocol status", "other_or_undefined_protocol_status"},
		1: {"Invalid command", "invalid_command"},
		2: {"Syntax error", "syntax_error"},
		3: {"Too many recipients", "too_many_recipients"},
		4: {"Invalid command arguments", "invalid_command_arguments"},
		5: {"Wrong protocol version", "wrong_protocol_version"},
		6: {"Authentication Exchange line is too long", "authentication_exchange_line_is_too_long"}, // RFC 4954
	},
	6: { // Message content or media status: RFC 3463 section 3.7
		0: {"Other or undefined media error", "other_or_undefined_media_error"},
		1: {"Media not supported", "media_not_supported"},
		2: {"Conversion required and prohibited", "conversion_required_and_prohibited"},
		3: {"Conversion required but not supported", "conversion_required_but_not_supported"},
		4: {"Conversion with loss performed", "conversion_with_loss_performed"},
		5: {"Conversion Failed", "conversion_failed"},
		6: {"Message content not available", "message_content_not_available"}, // RFC 4468
		// RFC 6531 from here on.
		7: {
			"Non-ASCII addresses not permitted",
			"non_ascii_addresses_not_permitted",
		},
		8: {
			"UTF-8 string reply required but not permitted",
			"utf_8_string_reply_required_but_not_permitted",
		},
		9: {
			"UTF-8 header message cannot be transferred",
			"utf_8_header_message_cannot_be_transferred",
		},
		// The registry calls X.6.10 a deprecated duplicate of X.6.8. A server that still sends it means X.6.8, and its
		// failures must not make a series of their own.
		10: {
			"UTF-8 string reply required but not permitted",
			"utf_8_string_reply_required_but_not_permitted",
		},
	},
	7: { // Security or policy status: RFC 3463 section 3.8
		0:  {"Other or undefined security status", "other_or_undefined_security_status"},
		1:  {"Delivery not authorized, message refused", "delivery_not_authorized_message_refused"},
		2:  {"Mailing list expansion prohibited", "mailing_list_expansion_prohibited"},
		3:  {"Security conversion required but not possible", "security_conversion_required_but_not_possible"},
		4:  {"Security features not supported", "security_features_not_supported"},
		5:  {"Cryptographic failure", "cryptographic_failure"},
		6:  {"Cryptographic algorithm not supported", "cryptographic_algorithm_not_supported"},
		7:  {"Message integrity failure", "message_integrity_failure"},
		8:  {"Authentication credentials invalid", "authentication_credentials_invalid"}, // RFC 4954
		9:  {"Authentication mechanism too weak", "authentication_mechanism_too_weak"},   // RFC 4954
		10: {"Encryption Needed", "encryption_needed"},                                   // RFC 5248
		11: { // RFC 4954
			"Encryption required for requested authentication mechanism",
			"encryption_required_for_requested_authentication_mechanism",
		},
		12: {"Password transition needed", "password_transition_needed"},                                     // RFC 4954
		13: {"User Account Disabled", "user_account_disabled"},                                               // RFC 5248
		14: {"Trust relationship required", "trust_relationship_required"},                                   // RFC 5248
		15: {"Priority level too low", "priority_level_too_low"},                                             // RFC 6710
		16: {"Message too big for the specified priority", "message_too_big_for_the_specified_priority"},     // RFC 6710
		17: {"Mailbox owner has changed", "mailbox_owner_has_changed"},                                       // RFC 7293
		18: {"Domain owner has changed", "domain_owner_has_changed"},                                         // RFC 7293
		19: {"RRVS test cannot be completed", "rrvs_test_cannot_be_completed"},                               // RFC 7293
		20: {"No passing DKIM signature found", "no_passing_dkim_signature_found"},                           // RFC 7372
		21: {"No acceptable DKIM signature found", "no_acceptable_dkim_signature_found"},                     // RFC 7372
		22: {"No valid author-matched DKIM signature found", "no_valid_author_matched_dkim_signature_found"}, // RFC 7372
		23: {"SPF validation failed", "spf_validation_failed"},                                               // RFC 7372
		24: {"SPF validation error", "spf_validation_error"},                                                 // RFC 7372
		25: {"Reverse DNS validation failed", "reverse_dns_validation_failed"},                               // RFC 7372
		26: {"Multiple authentication checks failed", "multiple_authentication_checks_failed"},               // RFC 7372
		27: {"Sender address has null MX", "sender_address_has_null_mx"},                                     // RFC 7505
		28: {"Mail flood detected", "mail_flood_detected"},                                                   // under RFC 5248 section 2.2
		29: {"ARC validation failure", "arc_validation_failure"},                                             // RFC 8617
		30: {"REQUIRETLS support required", "requiretls_support_required"},                                   // RFC 8689
	},
}

// registered returns e's row, without regard to the class.
func (e Enhanced) registered() (r registration, ok bool) {
	if e.IsZero() || int(e.Subject) >= len(registry) {
		return registration{}, false
	}
	details := registry[e.Subject]
	if int(e.Detail) >= len(details) {
		return registration{}, false
	}
	return details[e.Detail], true
}

// registeredReason returns the reason of e's row, or that of the subject's X.n.0 when only the subject is registered.
// Private details such as Microsoft's 5.7.51 then still tell a policy from a bad address. It is "" when neither is.
func (e Enhanced) registeredReason() string {
	if r, ok := e.registered(); ok {
		return r.reason
	}
	if e.IsZero() || int(e.Subject) >= len(registry) {
		return ""
	}
	return registry[e.Subject][0].reason
}
