package smtpfailurereceiver

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// TestMemoryAndDiskAreBounded takes reports that are all distinct, each with an id, a tag and an enhanced status of its own, and looks at what is
// held after each quarter. The first has to fill what there is room for; what is held after the others must not grow any more.
func TestMemoryAndDiskAreBounded(t *testing.T) {
	reports := 12_000
	if *exhaustive {
		reports = 1_000_000
	}
	config := storageConfig()
	config.Deduplication.MaxEntries = reports / 10
	directory := t.TempDir()
	r, err := newReceiver(receivertest.NewNopSettings(metadata.Type), config)
	require.NoError(t, err)
	r.logs, r.metrics = consumertest.NewNop(), consumertest.NewNop()
	r.counters = newCounters(config)
	r.ledger, err = r.openLedger(t.Context(), newStorageHost(t, directory))
	require.NoError(t, err)
	defer func() {
		require.NoError(t, r.ledger.Close(context.WithoutCancel(t.Context())))
	}()

	var heap, disk []int64
	var next atomic.Int64
	for quarter := range 4 {
		var sending sync.WaitGroup
		for range 64 {
			sending.Go(func() {
				for n := next.Add(1); n <= int64(reports*(quarter+1)/4); n = next.Add(1) {
					report, err := r.decoder.Form(webhook.Call{Body: "id=" + strconv.FormatInt(n, 10) + "&time=1795256098&code=550&tags=tag" + strconv.FormatInt(n, 10), Arrived: time.Now()})
					if err != nil {
						t.Error(err)
						return
					}
					report.Extended = smtpstatus.Enhanced{Class: 5, Subject: uint16(n / 1000 % 1000), Detail: uint16(n % 1000)}
					if _, err := r.accept(t.Context(), &queuedEvent{Event: report}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		sending.Wait()
		next.Store(int64(reports * (quarter + 1) / 4))
		require.NoError(t, r.flush(t.Context()))
		heap = append(heap, heapInUse())
		disk = append(disk, diskInUse(t, directory))
		t.Logf("%9d reports: %6.1f MiB of heap, %6.1f MiB on disk", reports*(quarter+1)/4, mebibytes(heap[quarter]), mebibytes(disk[quarter]))
	}

	stats := r.ledger.Stats()
	assert.Equal(t, config.Deduplication.MaxEntries, stats.Kinds["failure"].Remembered)
	for _, m := range stats.Metrics {
		assert.Equal(t, config.Aggregation.CardinalityLimit+1, m.Series, m.Name)
	}
	assert.LessOrEqual(t, heap[3], heap[0]+1<<20)
	assert.LessOrEqual(t, disk[3], disk[0]+4<<20) // the file grows in steps
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func diskInUse(t *testing.T, directory string) (total int64) {
	require.NoError(t, filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err == nil {
			total += info.Size()
		}
		return err
	}))
	return total
}

func mebibytes(bytes int64) float64 {
	return float64(bytes) / (1 << 20)
}
