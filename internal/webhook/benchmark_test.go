package webhook

import "testing"

// typical is a report as PHP encodes it.
const typical = "id=msg-0001&type=failure&timestamp=2026-11-21+10%3A14%3A58&time=1795256098" +
	"&recipient=jan.jansen%2Btest%40voorbeeld.nl&action=failed&state=rcptto&code=550&extended=5.1.1" +
	"&description=550+5.1.1+%3Cjan.jansen%2Btest%40voorbeeld.nl%3E%3A+Recipient+address+rejected%3A+User+unknown" +
	"&tags%5B0%5D=nieuwsbrief&tags%5B1%5D=week+47"

func BenchmarkDecode(b *testing.B) {
	var d Decoder
	keyed := Decoder{Key: []byte("0123456789abcdef")}
	international := readVectors(b)
	for _, bc := range []struct {
		name   string
		decode func(Call) (*Event, error)
		body   string
	}{
		{"form", d.Form, typical},
		{"form with key", keyed.Form, typical},
		{"international form", d.Form, international.Encodings[0].Body},
		{"international JSON", d.JSON, string(international.Report)},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bc.decode(Call{Arrived: arrived, Body: bc.body}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
