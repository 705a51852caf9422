package smtpstatus

import "testing"

func TestClass(t *testing.T) {
	for _, tc := range []struct {
		enhanced string
		code     int
		want     string
	}{
		{"", 0, ClassUnknown},
		{"", 550, ClassPermanent},
		{"", 500, ClassPermanent},
		{"", 599, ClassPermanent},
		{"", 421, ClassTransient},
		{"", 400, ClassTransient},
		{"", 499, ClassTransient},
		{"", 250, ClassUnknown},
		{"", 354, ClassUnknown},
		{"", 399, ClassUnknown},
		{"", 600, ClassUnknown},
		{"", 999, ClassUnknown},
		{"", 5, ClassUnknown},
		{"", 5500, ClassUnknown},
		{"", -550, ClassUnknown},
		{"5.1.1", 0, ClassPermanent},
		{"4.2.2", 0, ClassTransient},
		{"5.9.9", 0, ClassPermanent}, // the class needs no registered subject
		{"4.7.51", 0, ClassTransient},
		{"4.2.2", 552, ClassTransient}, // the enhanced status wins over the code
		{"5.7.1", 450, ClassPermanent},
		{"2.0.0", 0, ClassUnknown}, // success says nothing of a failure
		{"2.0.0", 250, ClassUnknown},
		{"2.0.0", 550, ClassPermanent},
		{"2.1.5", 450, ClassTransient},
	} {
		if got := Class(enhanced(t, tc.enhanced), tc.code); got != tc.want {
			t.Errorf("Class(%q, %d) = %q, want %q", tc.enhanced, tc.code, got, tc.want)
		}
	}
	// no class of RFC 3463: only the code can tell
	if got := Class(Enhanced{6, 0, 1}, 550); got != ClassPermanent {
		t.Errorf("Class(6.0.1, 550) = %q", got)
	}
}

// enhanced is the status that s writes, the zero value for "".
func enhanced(t *testing.T, s string) Enhanced {
	t.Helper()
	e, ok := ParseEnhanced(s)
	if !ok && s != "" {
		t.Fatalf("ParseEnhanced(%q) refuses", s)
	}
	return e
}
