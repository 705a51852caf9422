package smtpstatus

import (
	"fmt"
	"testing"
)

func TestParseCode(t *testing.T) {
	for n := range 1000 {
		s := fmt.Sprintf("%03d", n)
		got, ok := ParseCode(s)
		if n < 100 {
			if ok || got != 0 {
				t.Errorf("ParseCode(%q) = %d, %v, want none", s, got, ok)
			}
		} else if got != n || !ok {
			t.Errorf("ParseCode(%q) = %d, %v", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "5", "55", "5500", "0550", " 550", "550 ", "55 ", " 55", "5 0", "550\n", "+55", "-55", "5.0", "55a", "a55", "5a0",
		"0x1", "1e2", "5_0", "550-", "550 5.1.1", "٥٥٠", "５", "\x00\x00\x00", "55/", "55:",
	} {
		if got, ok := ParseCode(s); ok || got != 0 {
			t.Errorf("ParseCode(%q) = %d, %v, want none", s, got, ok)
		}
	}
}
