package smtpstatus

// ParseCode reads an SMTP reply code: exactly three ASCII digits, 100 to 999. That is wider than the grammar of RFC 5321
// section 4.2, which ends at 559, because servers use codes beyond it, such as 571. ok is false, and code 0, for
// anything else.
func ParseCode(s string) (code int, ok bool) {
	if len(s) != 3 || s[0] == '0' {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		code = code*10 + int(s[i]-'0')
	}
	return code, true
}

// replyReasons holds what a reply code says by itself, in the words of the RFC that defines it; where that RFC pairs
// the code with one enhanced status, the reason is that status's. Codes that only vendors define are not here, nor is
// 422, to which the registry and common usage give different meanings: the state says more than a guess.
//
// 450 and 550 are used for any refusal of a recipient, for policy too, and so do not say that the address is bad.
var replyReasons = []string{
	// RFC 5321 section 4.2.3
	421: "service_not_available",
	450: "mailbox_unavailable",
	451: "local_error_in_processing",
	452: "insufficient_system_storage",
	455: "server_unable_to_accommodate_parameters",
	500: "syntax_error_command_unrecognized",
	501: "syntax_error_in_parameters_or_arguments",
	502: "command_not_implemented",
	503: "bad_sequence_of_commands",
	504: "command_parameter_not_implemented",
	550: "mailbox_unavailable",
	551: "user_not_local",
	552: "exceeded_storage_allocation",
	553: "mailbox_name_not_allowed",
	554: "transaction_failed",
	555: "mail_from_rcpt_to_parameters_not_recognized_or_not_implemented",

	// RFC 4954 section 6. 454 is also RFC 3207's "TLS not available", and nothing in the code tells which.
	432: "password_transition_needed",
	454: "temporary_authentication_or_tls_failure",
	530: "authentication_required",
	534: "authentication_mechanism_too_weak",
	535: "authentication_credentials_invalid",
	538: "encryption_required_for_requested_authentication_mechanism",

	// RFC 5248 section 2.4: the codes that go with X.7.10, X.7.11 and X.7.13
	523: "encryption_needed",
	524: "encryption_required_for_requested_authentication_mechanism",
	525: "user_account_disabled",

	// RFC 7504
	521: "host_does_not_accept_mail",
	556: "domain_does_not_accept_mail",
}

// replyReason returns "" for a code that says no reason, and for one out of any range.
func replyReason(code int) string {
	if code < 0 || code >= len(replyReasons) {
		return ""
	}
	return replyReasons[code]
}
