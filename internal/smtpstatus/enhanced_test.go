package smtpstatus

import (
	"math/rand/v2"
	"testing"
)

func TestParseEnhanced(t *testing.T) {
	for s, want := range map[string]Enhanced{
		"2.0.0":     {2, 0, 0},
		"4.2.2":     {4, 2, 2},
		"5.1.1":     {5, 1, 1},
		"5.1.10":    {5, 1, 10},
		"5.7.30":    {5, 7, 30},
		"5.7.51":    {5, 7, 51},
		"5.7.705":   {5, 7, 705},
		"5.10.1":    {5, 10, 1},
		"5.0.999":   {5, 0, 999},
		"4.999.0":   {4, 999, 0},
		"5.999.999": {5, 999, 999},
	} {
		if got, ok := ParseEnhanced(s); got != want || !ok {
			t.Errorf("ParseEnhanced(%q) = %v, %v, want %v", s, got, ok, want)
		}
	}
}

func TestParseEnhancedRefuses(t *testing.T) {
	for _, s := range []string{
		"", "5", "5.", "5.1", "5.1.", "5..1", ".1.1", "..", "5...", ".....",
		"0.1.1", "1.1.1", "3.1.1", "6.0.1", "9.1.1", "x.1.1", "X.1.1", "55.1.1", "05.1.1",
		"5.01.1", "5.1.01", "5.00.1", "5.1.00", "5.001.1", "5.1.001",
		"5.1000.1", "5.1.1000", "5.1000.1000", "5.65537.1", "5.1.65537", "5.1.99999999999999999999",
		" 5.1.1", "5.1.1 ", "5. 1.1", "5.1 .1", "5.1.1\n", "\t5.1.1", "5.1.1\x00", "5.1.1.", "5.1.1.1",
		"+5.1.1", "-5.1.1", "5.+1.1", "5.-1.1", "5.1.-1", "5.1.+1", "5.1.1e0", "5.0x1.1", "5.1.a", "5.a.1",
		"5.1.1 (no such user)", "5.1.1(comment)", "5(c).1.1", "#5.1.1", "5,1,1", "5-1-1", "5.1,1", "550 5.1.1", "511.1",
		"٥.١.١", "5.１.1", "５.1.1", "5.1.1\u00a0",
	} {
		if got, ok := ParseEnhanced(s); ok || !got.IsZero() {
			t.Errorf("ParseEnhanced(%q) = %v, %v, want none", s, got, ok)
		}
	}
}

// Every status that RFC 3463 section 2 allows is written as it is read.
func TestEnhancedRoundTrip(t *testing.T) {
	edges := []uint16{0, 1, 9, 10, 11, 99, 100, 101, 999}
	check := func(e Enhanced) {
		t.Helper()
		if got, ok := ParseEnhanced(e.String()); got != e || !ok {
			t.Fatalf("ParseEnhanced(%q) = %v, %v, want %v", e.String(), got, ok, e)
		}
	}
	for _, class := range []uint16{2, 4, 5} {
		for _, edge := range edges {
			for n := range uint16(1000) {
				check(Enhanced{class, edge, n})
				check(Enhanced{class, n, edge})
			}
		}
		for range 10000 {
			check(Enhanced{class, uint16(rand.IntN(1000)), uint16(rand.IntN(1000))})
		}
	}
}

func TestEnhancedString(t *testing.T) {
	for want, e := range map[string]Enhanced{
		"":                  {},
		"5.1.1":             {5, 1, 1},
		"4.10.200":          {4, 10, 200},
		"0.0.1":             {0, 0, 1},
		"65535.65535.65535": {65535, 65535, 65535},
	} {
		if got := e.String(); got != want {
			t.Errorf("%#v.String() = %q, want %q", e, got, want)
		}
		if got := e.IsZero(); got != (want == "") {
			t.Errorf("%#v.IsZero() = %v", e, got)
		}
	}
}

func FuzzParseEnhanced(f *testing.F) {
	for _, s := range []string{"", "5.1.1", "4.2.2", "2.0.0", "5.7.51", "5.999.999", "6.0.1", "5.01.1", "5.1", "5.1.1 ", "5.1.1000", "5..1", "5.1.1.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, ok := ParseEnhanced(s)
		if !ok {
			if !e.IsZero() {
				t.Fatalf("ParseEnhanced(%q) = %v without ok", s, e)
			}
			return
		}
		if e.String() != s {
			t.Fatalf("ParseEnhanced(%q).String() = %q", s, e.String())
		}
		if e.Class != 2 && e.Class != 4 && e.Class != 5 || e.Subject > 999 || e.Detail > 999 {
			t.Fatalf("ParseEnhanced(%q) = %v, out of bounds", s, e)
		}
		// Whatever is let in has a class.
		if (Class(e, 0) == ClassUnknown) != (e.Class == 2) {
			t.Fatalf("Class of %q is %q", s, Class(e, 0))
		}
	})
}
