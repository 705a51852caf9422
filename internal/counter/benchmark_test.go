package counter

import (
	"strconv"
	"testing"
	"time"
)

// full returns a set of so many series, and their keys.
func full(series int) (*Sums[kind], []kind) {
	sums := newSums(Options{Limit: series, MaxStale: time.Hour})
	keys := make([]kind, series)
	for i := range keys {
		keys[i] = kind{strconv.Itoa(i)}
		sums.Add(keys[i:i+1], began)
	}
	return sums, keys
}

// BenchmarkAdd counts while so many series are held.
func BenchmarkAdd(b *testing.B) {
	for _, series := range []int{1, 1000, 100_000} {
		b.Run(strconv.Itoa(series), func(b *testing.B) {
			sums, keys := full(series)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				sums.Add(keys[n%series:][:1], began)
				n++
			}
		})
	}
}

// BenchmarkCollect makes a report of so many series, and takes note that it was taken.
func BenchmarkCollect(b *testing.B) {
	for _, series := range []int{1, 100, 10_000, 100_000} {
		b.Run(strconv.Itoa(series), func(b *testing.B) {
			sums, _ := full(series)
			b.ReportAllocs()
			for b.Loop() {
				report := sums.Collect(began)
				for range report.Points() {
				}
				report.Taken()
			}
		})
	}
}

// BenchmarkAddDuringCollect counts while one report after the other is made of so many series. Beside the time for each count it reports the longest:
// what a request may have to wait for, as far as the machine has a core for each of the two.
func BenchmarkAddDuringCollect(b *testing.B) {
	for _, series := range []int{1000, 100_000} {
		b.Run(strconv.Itoa(series), func(b *testing.B) {
			sums, keys := full(series)
			done, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-done:
						return
					default:
						sums.Collect(began).Taken()
					}
				}
			}()
			var longest time.Duration
			n := 0
			for b.Loop() {
				start := time.Now()
				sums.Add(keys[n%series:][:1], began)
				longest = max(longest, time.Since(start))
				n++
			}
			close(done)
			<-stopped
			b.ReportMetric(float64(longest.Microseconds()), "µs/longest")
		})
	}
}
