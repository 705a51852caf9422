package webhook

import "testing"

func BenchmarkForm(b *testing.B) {
	body := readVectors(b).Encodings[0].Body
	var d Decoder
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := d.Form(Call{Arrived: arrived, Body: body}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSON(b *testing.B) {
	body := string(readVectors(b).Report)
	var d Decoder
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := d.JSON(Call{Arrived: arrived, Body: body}); err != nil {
			b.Fatal(err)
		}
	}
}
