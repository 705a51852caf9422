package ledger

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// BenchmarkCommit takes one new report from Begin to its acknowledgment. Each counts in two metrics, as one of a common message with two tags does.
func BenchmarkCommit(b *testing.B) {
	for _, in := range []struct {
		name   string
		client func(b *testing.B) storage.Client
	}{
		{"memory", nil},
		{"fake", func(*testing.B) storage.Client { return newDisk().client() }},
		{"file_storage", func(b *testing.B) storage.Client {
			b.Helper()
			return fileStorage(b, b.TempDir(), false)
		}},
		{"file_storage_fsync", func(b *testing.B) storage.Client {
			b.Helper()
			return fileStorage(b, b.TempDir(), true)
		}},
	} {
		for _, goroutines := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", in.name, goroutines), func(b *testing.B) {
				s := newSetup()
				s.maxEntries, s.metrics = 100_000, []string{"failures", "by_tag"}
				var syncs, reports atomic.Int64
				s.observe = func(n int, _ error) {
					syncs.Add(1)
					reports.Add(int64(n))
				}
				var l *Ledger[kind]
				if in.client == nil {
					l = s.inMemory()
				} else {
					l = s.open(b, in.client(b))
				}
				all := make([]Counts[kind], 100)
				for i := range all {
					all[i] = Counts[kind]{{{fmt.Sprint(i % 20)}}, {{fmt.Sprint("tag ", i)}, {fmt.Sprint("tag ", (i+1)%len(all))}}}
				}
				var next atomic.Int64
				one := func() {
					n := int(next.Add(1))
					attempt, _, err := l.Begin(b.Context(), id(n))
					if err == nil {
						_, err = attempt.Commit(b.Context(), Accepted, all[n%len(all)])
					}
					if err != nil {
						b.Error(err)
					}
				}
				b.ReportAllocs()
				if goroutines == 1 {
					for b.Loop() {
						one()
					}
				} else {
					b.SetParallelism((goroutines + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							one()
						}
					})
				}
				if n := syncs.Load(); n > 0 {
					b.ReportMetric(float64(reports.Load())/float64(n), "reports/sync")
				}
				if err := l.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// BenchmarkBegin is what a repeat costs.
func BenchmarkBegin(b *testing.B) {
	s := newSetup()
	s.maxEntries = 100_000
	l := s.inMemory()
	for n := range s.maxEntries {
		s.count(b, l, n, "a")
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		s.repeat(b, l, n%s.maxEntries)
		n++
	}
}

// BenchmarkRemembered takes a new report from Begin to Commit while so many are remembered, all that there is room for, so that each makes the
// oldest go. It also reports what each of those that are remembered takes of memory.
func BenchmarkRemembered(b *testing.B) {
	for _, entries := range []int{1, 1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) {
			s := newSetup()
			s.maxEntries = entries
			before := heap()
			l := s.inMemory()
			next := 0
			one := func() {
				if _, err := s.send(b.Context(), l, next, "a"); err != nil {
					b.Fatal(err)
				}
				next++
			}
			for range 2 * entries {
				one()
			}
			held := heap() - before
			b.ReportAllocs()
			for b.Loop() {
				one()
			}
			if got := l.Remembered(); got != entries {
				b.Fatalf("%d are remembered", got)
			}
			b.ReportMetric(float64(held)/float64(entries), "B/entry")
		})
	}
}

// heap is the memory of what is still reachable.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
