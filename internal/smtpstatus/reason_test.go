package smtpstatus

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var wantCodes = map[int]string{
	421: "service_not_available",
	432: "password_transition_needed",
	450: "mailbox_unavailable",
	451: "local_error_in_processing",
	452: "insufficient_system_storage",
	454: "temporary_authentication_or_tls_failure",
	455: "server_unable_to_accommodate_parameters",
	500: "syntax_error_command_unrecognized",
	501: "syntax_error_in_parameters_or_arguments",
	502: "command_not_implemented",
	503: "bad_sequence_of_commands",
	504: "command_parameter_not_implemented",
	521: "host_does_not_accept_mail",
	523: "encryption_needed",
	524: "encryption_required_for_requested_authentication_mechanism",
	525: "user_account_disabled",
	530: "authentication_required",
	534: "authentication_mechanism_too_weak",
	535: "authentication_credentials_invalid",
	538: "encryption_required_for_requested_authentication_mechanism",
	550: "mailbox_unavailable",
	551: "user_not_local",
	552: "exceeded_storage_allocation",
	553: "mailbox_name_not_allowed",
	554: "transaction_failed",
	555: "mail_from_rcpt_to_parameters_not_recognized_or_not_implemented",
	556: "domain_does_not_accept_mail",
}

// wantStates has every state that a sender is known to use, and "" where it says no reason.
var wantStates = map[string]string{
	"process":      "message_processing_failure",
	"suppression":  "recipient_suppressed",
	"storage":      "message_storage_failure",
	"responsive":   "message_rendering_failure",
	"personalize":  "message_personalization_failure",
	"rewrite":      "message_rewriting_failure",
	"dns":          "dns_failure",
	"bind":         "local_address_failure",
	"connect":      "connection_failure",
	"handshake":    "handshake_failure",
	"intro":        "greeting_failure",
	"ehlo":         "hello_failure",
	"helo":         "hello_failure",
	"starttls":     "starttls_failure",
	"authplain":    "authentication_failure",
	"authlogin":    "authentication_failure",
	"authusername": "authentication_failure",
	"authpassword": "authentication_failure",
	"authcram":     "authentication_failure",
	"authresponse": "authentication_failure",
	"mailfrom":     "mail_from_failure",
	"rcptto":       "rcpt_to_failure",
	"data":         "data_command_failure",
	"message":      "message_transfer_failure",
	"idle":         "idle_connection_failure",
	"unknown":      "",
	"bounce":       "",
}

func TestReasonOfCode(t *testing.T) {
	for code := -1000; code <= 2000; code++ {
		want, known := wantCodes[code]
		if !known {
			want = Other
		}
		if got := Reason(Enhanced{}, code, ""); got != want {
			t.Errorf("Reason of code %d = %q, want %q", code, got, want)
		}
		if !known {
			want = "dns_failure"
		}
		if got := Reason(Enhanced{}, code, "dns"); got != want {
			t.Errorf("Reason of code %d in state dns = %q, want %q", code, got, want)
		}
	}
}

func TestReasonOfState(t *testing.T) {
	for state, want := range wantStates {
		if want == "" {
			want = Other
		}
		for _, s := range []string{state, strings.ToUpper(state), strings.ToUpper(state[:1]) + state[1:]} {
			if got := Reason(Enhanced{}, 0, s); got != want {
				t.Errorf("Reason of state %q = %q, want %q", s, got, want)
			}
		}
	}
	for _, s := range []string{"", " ", "dns ", " dns", "dn", "dnss", "rcpt to", "auth", "quantum", "dns\x00", "\xff", strings.Repeat("dns", 1000)} {
		if got := Reason(Enhanced{}, 0, s); got != Other {
			t.Errorf("Reason of state %q = %q, want %q", s, got, Other)
		}
	}
}

func TestReasonPrecedence(t *testing.T) {
	for _, tc := range []struct {
		enhanced string
		code     int
		state    string
		want     string
	}{
		{"5.1.1", 550, "rcptto", "bad_destination_mailbox_address"},
		{"4.1.1", 450, "rcptto", "bad_destination_mailbox_address"},
		{"5.2.2", 552, "rcptto", "mailbox_full"},
		{"4.2.2", 0, "bounce", "mailbox_full"},
		{"4.7.28", 421, "connect", "mail_flood_detected"},
		{"5.7.38", 550, "", "other_or_undefined_security_status"},
		{"5.6.10", 553, "", "utf_8_string_reply_required_but_not_permitted"},
		{"5.0.0", 550, "rcptto", "other_undefined_status"},

		// a registered subject with a private detail
		{"5.7.51", 550, "dns", "other_or_undefined_security_status"},
		{"4.7.650", 451, "", "other_or_undefined_security_status"},
		{"5.0.1", 550, "", "other_undefined_status"},
		{"5.1.11", 550, "", "other_address_status"},
		{"4.2.5", 0, "", "other_or_undefined_mailbox_status"},
		{"4.3.7", 0, "", "other_or_undefined_mail_system_status"},
		{"4.4.316", 0, "", "other_or_undefined_network_or_routing_status"},
		{"5.5.350", 0, "", "other_or_undefined_protocol_status"},
		{"5.6.211", 0, "", "other_or_undefined_media_error"},

		// no registered subject: the code, then the state, then nothing
		{"5.8.0", 550, "dns", "mailbox_unavailable"},
		{"5.9.9", 0, "dns", "dns_failure"},
		{"5.999.999", 0, "bounce", Other},

		{"", 550, "rcptto", "mailbox_unavailable"},
		{"", 571, "rcptto", "rcpt_to_failure"},
		{"", 422, "rcptto", "rcpt_to_failure"},
		{"", 250, "message", "message_transfer_failure"},
		{"", 0, "dns", "dns_failure"},
		{"", 550, "bounce", "mailbox_unavailable"},
		{"", 0, "bounce", Other},
		{"", 599, "unknown", Other},
		{"", 0, "", Other},
	} {
		if got := Reason(enhanced(t, tc.enhanced), tc.code, tc.state); got != tc.want {
			t.Errorf("Reason(%q, %d, %q) = %q, want %q", tc.enhanced, tc.code, tc.state, got, tc.want)
		}
	}
}

// A reply code alone never says that the address is bad: whoever suppresses addresses by reason must not act on it.
func TestNoCodeOrStateMeansBadAddress(t *testing.T) {
	for code := range 1000 {
		for state := range wantStates {
			if r := Reason(Enhanced{}, code, state); strings.HasPrefix(r, "bad_destination") {
				t.Errorf("Reason of code %d in state %q is %q", code, state, r)
			}
		}
	}
}

func TestReasons(t *testing.T) {
	want := map[string]bool{Other: true}
	for _, r := range wantReasons {
		want[r] = true
	}
	for _, r := range wantCodes {
		want[r] = true
	}
	for _, r := range wantStates {
		if r != "" {
			want[r] = true
		}
	}
	got := Reasons()
	if sorted := slices.Sorted(maps.Keys(want)); !slices.Equal(got, sorted) {
		t.Errorf("Reasons() = %q, want %q", got, sorted)
	}
	for _, r := range got {
		if r != Other && (r == "" || snakeCase(r) != r) {
			t.Errorf("%q is not in snake case", r)
		}
	}
	got[0] = "changed"
	if Reasons()[0] == "changed" {
		t.Error("the caller's slice is shared")
	}
}

// A metric attribute stays bounded whatever is sent.
func TestReasonIsAlwaysOneOfReasons(t *testing.T) {
	closed := map[string]bool{}
	for _, r := range Reasons() {
		closed[r] = true
	}
	states := append(slices.Sorted(maps.Keys(wantStates)), "", "DNS", "other", "\xff")
	random := rand.New(rand.NewPCG(3463, 5248))
	small := func(n int) uint16 {
		if random.IntN(4) == 0 {
			return uint16(random.Uint32())
		}
		return uint16(random.IntN(n))
	}
	for range 500000 {
		e := Enhanced{small(7), small(9), small(35)}
		code := random.IntN(1200) - 100
		if random.IntN(10) == 0 {
			code = int(random.Uint64())
		}
		state := states[random.IntN(len(states))]
		if r := Reason(e, code, state); !closed[r] {
			t.Fatalf("Reason(%#v, %d, %q) = %q", e, code, state, r)
		}
		if c := Class(e, code); c != ClassPermanent && c != ClassTransient && c != ClassUnknown {
			t.Fatalf("Class(%#v, %d) = %q", e, code, c)
		}
	}
}

func TestLookupsAllocateNothing(t *testing.T) {
	full, none := Enhanced{5, 1, 1}, Enhanced{}
	// What is returned goes where the compiler can't drop the call.
	var status Enhanced
	var code int
	var text string
	for name, lookup := range map[string]func(){
		"ParseEnhanced":         func() { status, _ = ParseEnhanced("5.7.705") },
		"ParseEnhanced refused": func() { status, _ = ParseEnhanced("5.7.705 no") },
		"ParseCode":             func() { code, _ = ParseCode("550") },
		"Class":                 func() { text = Class(full, 550) },
		"Meaning":               func() { text, _ = full.Meaning() },
		"Reason by status":      func() { text = Reason(full, 550, "rcptto") },
		"Reason by subject":     func() { text = Reason(Enhanced{5, 7, 51}, 550, "rcptto") },
		"Reason by code":        func() { text = Reason(none, 550, "rcptto") },
		"Reason by state":       func() { text = Reason(none, 0, "MESSAGE") },
		"Reason of nothing":     func() { text = Reason(none, 0, "no such state") },
	} {
		if n := testing.AllocsPerRun(100, lookup); n != 0 {
			t.Errorf("%s allocates %v times (%v %d %q)", name, n, status, code, text)
		}
	}
}

func BenchmarkReason(b *testing.B) {
	for name, tc := range map[string]struct {
		e     Enhanced
		code  int
		state string
	}{
		"status":  {Enhanced{5, 1, 1}, 550, "rcptto"},
		"code":    {Enhanced{}, 550, "rcptto"},
		"state":   {Enhanced{}, 0, "message"},
		"nothing": {Enhanced{}, 0, "bounce"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = Reason(tc.e, tc.code, tc.state)
			}
		})
	}
}
