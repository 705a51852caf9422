package smtpfailurereceiver

import (
	"context"
	"fmt"
	"os"
	"runtime"
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

// TestMemoryAndDiskAreBounded sends distinct reports, each with an id, a tag and an enhanced status
// of its own. The first quarter reaches the bounds; memory and disk must not grow after it.
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
	defer func() { require.NoError(t, r.ledger.Close(context.WithoutCancel(t.Context()))) }()

	accept := func(n int) error {
		body := fmt.Sprintf("id=%d&time=1795256098&code=550&tags=tag%d", n, n)
		event, err := r.decoder.Form(webhook.Call{Body: body, Arrived: time.Now()})
		if err != nil {
			return err
		}
		event.Extended = smtpstatus.Enhanced{Class: 5, Subject: uint16(n / 1000 % 1000), Detail: uint16(n % 1000)}
		_, err = r.accept(t.Context(), &queuedEvent{Event: event})
		return err
	}
	var heap, disk [4]int64
	for quarter := range 4 {
		first, last := reports*quarter/4, reports*(quarter+1)/4
		var accepted atomic.Int64
		var sending sync.WaitGroup
		for range 64 {
			sending.Go(func() {
				for n := first + int(accepted.Add(1)); n <= last; n = first + int(accepted.Add(1)) {
					if err := accept(n); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		sending.Wait()
		require.NoError(t, r.flush(t.Context()))
		heap[quarter], disk[quarter] = heapInUse(), diskInUse(t, directory)
		const mebibyte = 1 << 20
		t.Logf("%9d reports: %6.1f MiB of heap, %6.1f MiB on disk",
			last, float64(heap[quarter])/mebibyte, float64(disk[quarter])/mebibyte)
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
	t.Helper()
	files, err := os.ReadDir(directory)
	require.NoError(t, err)
	for _, file := range files {
		info, err := file.Info()
		require.NoError(t, err)
		total += info.Size()
	}
	return total
}
