package privacy

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// typicalBody is a report as most are: an ASCII address, and the answer of a server.
const typicalBody = "id=20261121-7f3a91&type=failure&timestamp=2026-11-21+10%3A14%3A58&time=1795256098&recipient=jan.jansen%40example.org&action=failed&state=rcptto" +
	"&code=550&extended=5.1.1&description=550-5.1.1+The+email+account+that+you+tried+to+reach+does+not+exist.+Please+try%0A550-5.1.1+double-checking+the+recipient%27s+email" +
	"+address+for+typos.%0A550+5.1.1+%3Cjan.jansen%40example.org%3E+https%3A%2F%2Fsupport.example.net%2Fmail%2F%3Fp%3DNoSuchUser+a1-2002sor.12+-+gsmtp&tags%5B%5D=nieuwsbrief&tags%5B%5D=week+47"

func BenchmarkApply(b *testing.B) {
	{
		report := mustForm(b, typicalBody)
		for _, mode := range []Mode{ModeFull, ModeDomain, ModeHMAC, ModeDrop} {
			b.Run(mode.String(), func(b *testing.B) {
				p := with(mode)
				b.ReportAllocs()
				for b.Loop() {
					r := report
					p.Apply(&r)
				}
			})
		}
	}
}

// BenchmarkHostileText takes texts that were made to be slow, at two sizes: what each byte costs must not grow.
func BenchmarkHostileText(b *testing.B) {
	for _, size := range []int{32 << 10, 256 << 10} {
		texts := hostileTexts(size)
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			b.Run(name+"/"+strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
				b.SetBytes(int64(len(texts[name].text)))
				for b.Loop() {
					r := webhook.Event{ID: "1", Recipient: texts[name].recipient, Description: texts[name].text}
					with(ModeDrop).Apply(&r)
				}
			})
		}
	}
}
