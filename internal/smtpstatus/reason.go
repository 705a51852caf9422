package smtpstatus

import (
	"slices"
	"strings"
)

// Other is the reason of a failure that says none, the value that OpenTelemetry reserves in error.type for what is
// outside the list.
const Other = "_OTHER"

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
			reasons = append(reasons, r.reason)
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
