package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// fileStorage returns a client of the real extension, with fsync or without.
func fileStorage(tb testing.TB, directory string, fsync bool) storage.Client {
	tb.Helper()
	factory := filestorage.NewFactory()
	config := factory.CreateDefaultConfig().(*filestorage.Config)
	config.Directory, config.FSync = directory, fsync
	require.NoError(tb, config.Validate())
	e, err := factory.Create(tb.Context(), extension.Settings{
		ID: component.NewID(factory.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings(),
	}, config)
	require.NoError(tb, err)
	require.NoError(tb, e.Start(tb.Context(), componenttest.NewNopHost()))
	tb.Cleanup(func() { assert.NoError(tb, e.Shutdown(canceledNever)) })
	client, err := e.(storage.Extension).GetClient(tb.Context(), component.KindReceiver, component.MustNewID("smtp_failure"), "")
	require.NoError(tb, err)
	return client
}

// killed returns a copy of a directory, as it is at the moment: what a process finds that starts after a kill.
func killed(t *testing.T, directory string) string {
	t.Helper()
	copied := t.TempDir()
	files, err := filepath.Glob(filepath.Join(directory, "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(copied, filepath.Base(file)), content, 0o600))
	}
	return copied
}

func TestFileStorage(t *testing.T) {
	s := newSetup()
	s.metrics = []string{"failures", "by_tag"}
	directory := t.TempDir()
	l := s.open(t, fileStorage(t, directory, true))
	for n := range 20 {
		s.count(t, l, n, fmt.Sprint(n%3))
	}
	s.move(time.Second)
	flush(t, l)

	half := s.open(t, fileStorage(t, killed(t, directory), true))
	for n := 20; n < 40; n++ {
		s.count(t, l, n, fmt.Sprint(n%3))
	}
	require.NoError(t, l.Close(t.Context()))
	whole := s.open(t, fileStorage(t, directory, true))

	assert.Equal(t, int64(20), total(half))
	assert.Equal(t, 20, half.Remembered())
	s.repeat(t, half, 19)
	s.count(t, half, 20, "0") // killed before: it was not acknowledged then
	assert.Equal(t, records(l, 0), records(whole, 0))
	for n := range 40 {
		s.repeat(t, whole, n)
	}
	assert.Equal(t, "first", whole.Instance())
	require.NoError(t, half.Close(t.Context()))
	require.NoError(t, whole.Close(t.Context()))
}

// What was acknowledged when a copy is made is in it, whatever is under way. The copy is made between two writes, as file_storage's own
// file is consistent on disk, but not while somebody reads it and somebody else writes.
func TestFileStorageHoldsWhatWasAcknowledged(t *testing.T) {
	s := newSetup()
	s.maxEntries = 10_000
	directory := t.TempDir()
	l := s.open(t, fileStorage(t, directory, true))
	var acknowledged sync.Map
	var next atomic.Int64
	var senders sync.WaitGroup
	stop := make(chan struct{})
	for range 16 {
		senders.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := int(next.Add(1))
				if _, err := s.send(t.Context(), l, n, fmt.Sprint(n%3)); assert.NoError(t, err) {
					acknowledged.Store(n, true)
				}
			}
		})
	}
	for range 3 {
		target := next.Load() + 100
		for next.Load() < target {
			flush(t, l)
		}
		require.NoError(t, l.store.acquire(t.Context()))
		var ns []int
		acknowledged.Range(func(n, _ any) bool {
			ns = append(ns, n.(int))
			return true
		})
		copied := killed(t, directory)
		l.store.release()

		again := s.open(t, fileStorage(t, copied, true))
		for _, n := range ns {
			s.repeat(t, again, n)
		}
		assert.Equal(t, int64(again.Remembered()), total(again), "seen and counted, or neither")
		assert.GreaterOrEqual(t, again.Remembered(), len(ns))
		require.NoError(t, again.Close(t.Context()))
	}
	close(stop)
	senders.Wait()
	assert.Equal(t, next.Load(), total(l))
	require.NoError(t, l.Close(t.Context()))
}

func TestFileStorageOfSomethingElseIsRefused(t *testing.T) {
	directory := t.TempDir()
	client := fileStorage(t, directory, true)
	require.NoError(t, client.Set(t.Context(), "queue", []byte("theirs")))
	_, err := Open(t.Context(), client, newSetup().options())
	require.ErrorIs(t, err, errLeftAlone)
	value, err := client.Get(t.Context(), "queue")
	require.NoError(t, err)
	assert.Equal(t, "theirs", string(value))
	value, err = client.Get(t.Context(), metaKey)
	require.NoError(t, err)
	assert.Nil(t, value)
	require.NoError(t, client.Close(t.Context()))
}

// A client that was closed under the ledger fails, and nothing is acknowledged.
func TestFileStorageThatIsGone(t *testing.T) {
	s := newSetup()
	client := fileStorage(t, t.TempDir(), true)
	l := s.open(t, client)
	s.count(t, l, 1, "a")
	require.NoError(t, client.Close(t.Context()))
	_, err := s.send(t.Context(), l, 2, "a")
	require.ErrorIs(t, err, ErrStore)
	s.repeat(t, l, 1)
	assert.Equal(t, int64(1), total(l))
}
