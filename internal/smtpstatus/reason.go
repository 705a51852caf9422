package smtpstatus

import (
	"slices"
	"strings"
)

// stateReasons holds what is known of a failure by the state in which it happened and nothing else. A reason names the
// step, not a refusal by the server: without a status it may as well have been a timeout or a lost connection. The
// states are those of the sender's MTA; steps that differ only in how the sender words them share a reason.
//
// "bounce" and "unknown" are absent because they say nothing: a bounce is how the failure became known.
var stateReasons = []struct{ state, reason string }{
	// before there is a connection
	{"process", "message_processing_failure"},
	{"suppression", "recipient_suppressed"},
	{"storage", "message_storage_failure"},
	{"responsive", "message_rendering_failure"},
	{"personalize", "message_personalization_failure"},
	{"rewrite", "message_rewriting_failure"},
	{"dns", "dns_failure"},
	{"bind", "local_address_failure"},
	{"connect", "connection_failure"},

	// the session, RFC 5321 section 3.1, RFC 3207, RFC 4954
	{"handshake", "handshake_failure"},
	{"intro", "greeting_failure"},
	{"ehlo", "hello_failure"},
	{"helo", "hello_failure"},
	{"starttls", "starttls_failure"},
	{"authplain", "authentication_failure"},
	{"authlogin", "authentication_failure"},
	{"authusername", "authentication_failure"},
	{"authpassword", "authentication_failure"},
	{"authcram", "authentication_failure"},
	{"authresponse", "authentication_failure"},
	{"idle", "idle_connection_failure"},

	// the mail transaction, RFC 5321 section 3.3
	{"mailfrom", "mail_from_failure"},
	{"rcptto", "rcpt_to_failure"},
	{"data", "data_command_failure"},
	{"message", "message_transfer_failure"},
}

// stateReason returns "" for a state that says no reason. The table is short enough to be searched in order.
func stateReason(state string) string {
	for _, s := range stateReasons {
		if strings.EqualFold(s.state, state) {
			return s.reason
		}
	}
	return ""
}

// Reason returns why a delivery failed, as a value for the OpenTelemetry attribute error.type. It is always one of
// Reasons, whatever the arguments; pass the zero Enhanced, 0 and "" for what is absent. The first that applies:
//
//  1. the enhanced status's registered meaning in snake_case, by subject and detail whatever the class
//     (X.1.1: bad_destination_mailbox_address);
//  2. the meaning of X.n.0 for an unregistered detail of a registered subject n (5.7.51: other_or_undefined_security_status);
//  3. the meaning of a reply code that an RFC defines (452: insufficient_system_storage);
//  4. the step that the state of the SMTP conversation names (dns: dns_failure), upper and lower case alike, since
//     people who try the webhook by hand type it as they like;
//  5. Other.
func Reason(e Enhanced, code int, state string) string {
	if r := e.registeredReason(); r != "" {
		return r
	}
	if r := replyReason(code); r != "" {
		return r
	}
	if r := stateReason(state); r != "" {
		return r
	}
	return Other
}

// Reasons returns every value that Reason can return, Other included, sorted and without duplicates. The slice is the
// caller's.
func Reasons() []string {
	reasons := []string{Other}
	for _, details := range registry {
		for _, r := range details {
			reasons = append(reasons, snake(r.meaning))
		}
	}
	for _, r := range replyReasons {
		if r != "" {
			reasons = append(reasons, r)
		}
	}
	for _, s := range stateReasons {
		reasons = append(reasons, s.reason)
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
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

// registeredReasons holds the reasons of the registry, by subject and detail.
var registeredReasons = func() (all [len(registry)][]string) {
	for subject, details := range registry {
		for _, r := range details {
			all[subject] = append(all[subject], snake(r.meaning))
		}
	}
	return all
}()

func snake(meaning string) string {
	return strings.Join(strings.FieldsFunc(strings.ReplaceAll(strings.ToLower(meaning), "'", ""), func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9')
	}), "_")
}

// registeredReason returns the reason of e's row, or that of the subject's X.n.0 when only the subject is registered.
func (e Enhanced) registeredReason() string {
	switch {
	case e.IsZero() || int(e.Subject) >= len(registry):
		return ""
	case int(e.Detail) >= len(registry[e.Subject]):
		return registeredReasons[e.Subject][0]
	}
	return registeredReasons[e.Subject][e.Detail]
}
