package e2e

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

// newUnqueued returns a collector of which only the receiver has a store, and the store's
// directory.
func newUnqueued(t *testing.T, s *sink) (c *collector, store string) {
	t.Helper()
	c = newStoring(t, s, "exporters::otlp_http/logs::sending_queue::enabled=false")
	store = filepath.Join(c.directory, "data", "store")
	require.NoError(t, os.MkdirAll(store, 0o700))
	return c, store
}

// TestDiskFull fills the receiver's store, in two ways: a report that cannot be stored is not
// accepted, and reports are accepted again once there is space.
func TestDiskFull(t *testing.T) {
	t.Run("a full file system", func(t *testing.T) {
		s := startSink(t)
		c, store := newUnqueued(t, s)
		err := syscall.Mount("tmpfs", store, "tmpfs", 0, "size=1m")
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
			t.Skip("a small file system cannot be mounted here, which takes root; the other way needs no rights")
		}
		require.NoError(t, err)
		// Detached, because the collector is killed only after this.
		t.Cleanup(func() { assert.NoError(t, syscall.Unmount(store, syscall.MNT_DETACH)) })
		filler := filepath.Join(store, "filler")
		testDiskFull(t, c, s, func() error {
			if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				return errors.Join(errors.New("the file system is not full"), err)
			}
			return nil
		}, func() error { return os.Remove(filler) })
	})
	t.Run("files that may not grow", func(t *testing.T) {
		s := startSink(t)
		c, _ := newUnqueued(t, s)
		testDiskFull(t, c, s,
			func() error { return limitFileSize(c.Pid, 0) },
			func() error { return limitFileSize(c.Pid, ^uint64(0)) })
	})
}

// limitFileSize sets how large a file may be that a process writes to: the soft limit, which may be
// raised again.
func limitFileSize(pid int, size uint64) error {
	limit := syscall.Rlimit{Cur: size, Max: ^uint64(0)}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_FSIZE,
		uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func testDiskFull(t *testing.T, c *collector, s *sink, fill, free func() error) {
	random := rand.New(rand.NewPCG(7, 8))
	reports := newReports(random, "full-", 3000)
	next := func(n int) []*report {
		some := reports[:n]
		reports = reports[n:]
		return some
	}
	c.start(t)
	sender := newSender(c.url(), 8, 9)
	// Sends reports once each until some were refused. The first few may find room in pages that
	// are there already.
	sendUntilRefused := func() (accepted, refused []*report) {
		for len(refused) < 20 {
			require.NotEmpty(t, reports, "all reports were accepted, though there is no space")
			r := next(1)[0]
			status, err := sender.post(t.Context(), random, r)
			require.NoError(t, err)
			if status == http.StatusOK {
				accepted = append(accepted, r)
				continue
			}
			require.Equal(t, http.StatusServiceUnavailable, status)
			refused = append(refused, r)
		}
		return accepted, refused
	}

	all := next(50)
	require.NoError(t, sender.send(t.Context(), all))
	require.NoError(t, fill())
	accepted, refused := sendUntilRefused()
	// After a write has failed, no record is exported until a write works.
	exported := len(refused) - len(s.missing(idsOf(refused)))
	assert.LessOrEqual(t, exported, 1+len(accepted), "reports that were refused and exported")
	// What is known already needs no space.
	require.NoError(t, sender.send(t.Context(), all))
	require.NoError(t, free())
	require.NoError(t, sender.send(t.Context(), refused))
	c.checkRunning(t)
	all = slices.Concat(all, accepted, refused)
	waitForTotals(t, c, s, all)
	byReceiver, byExporter := s.repeats()
	assert.Zero(t, byReceiver+byExporter, "records that came again, though the process lived on")

	// Once more, with a kill while it is full: what was accepted is there after the restart.
	require.NoError(t, fill())
	accepted, refused = sendUntilRefused()
	c.kill()
	if err := free(); !errors.Is(err, syscall.ESRCH) {
		require.NoError(t, err)
	}
	c.start(t)
	all = slices.Concat(all, accepted)
	waitForTotals(t, c, s, all)
	all = slices.Concat(all, refused)
	require.NoError(t, sender.send(t.Context(), all))
	waitForTotals(t, c, s, all)
	c.stop(t)
	s.checkArrived(t, idsOf(all), wanted(all))
	s.checkRecords(t, idsOf(all))
	s.checkSeries(t)
	// Those that were refused before the kill may have been exported, once each.
	byReceiver, byExporter = s.repeats()
	assert.LessOrEqual(t, byReceiver+byExporter, len(refused), "records that came again")
}

// waitForTotals waits for totals that are sent from now on.
func waitForTotals(t *testing.T, c *collector, s *sink, reports []*report) {
	t.Helper()
	want, now := wanted(reports), pcommon.NewTimestampFromTime(time.Now())
	err := c.wait(t.Context(), "the totals are right", func() bool { return s.has(nil, want) && s.newest() > now })
	if err != nil {
		s.checkArrived(t, nil, want)
		t.Fatal(err)
	}
}

// TestHangingStore freezes the file system of the receiver's store: calls are refused while writes
// to it hang.
func TestHangingStore(t *testing.T) {
	s := startSink(t)
	c, store := newUnqueued(t, s)
	image := filepath.Join(t.TempDir(), "image")
	require.NoError(t, errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 32<<20)))
	mount := exec.Command("sh", "-ec", `mkfs.ext4 -q "$0"; mount -o loop "$0" "$1"`, image, store)
	if output, err := mount.CombinedOutput(); err != nil {
		t.Skipf("a file system that can be frozen cannot be mounted here, which takes root: %v\n%s", err, output)
	}
	t.Cleanup(func() {
		_ = exec.Command("fsfreeze", "-u", store).Run()
		c.kill()
		run(t, exec.Command("umount", "-l", store))
	})
	c.start(t)
	reports := newReports(rand.New(rand.NewPCG(11, 12)), "hang-", 200)
	sender := newSender(c.url(), 8, 13)
	require.NoError(t, sender.send(t.Context(), reports[:50]))
	run(t, exec.Command("fsfreeze", "-f", store))

	// The first reports hang, and are exported once. Later ones are refused and not exported.
	var sending sync.WaitGroup
	for i, r := range reports[50:100] {
		sending.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			status, err := sender.post(ctx, rand.New(rand.NewPCG(14, uint64(i))), r)
			assert.NotEqual(t, http.StatusOK, status, "%s: %v", r.ID, err)
		})
	}
	sending.Wait()
	c.eventually(t, "the store is known to hang",
		func() bool { return strings.Contains(c.output.String(), "The store fails") })
	for _, r := range reports[100:110] {
		status, err := sender.post(t.Context(), rand.New(rand.NewPCG(15, 0)), r)
		require.NoError(t, err)
		assert.Equal(t, http.StatusServiceUnavailable, status, r.ID)
	}
	assert.Len(t, s.missing(idsOf(reports[100:110])), 10, "nothing is exported while the store hangs")
	run(t, exec.Command("fsfreeze", "-u", store))
	require.NoError(t, sender.send(t.Context(), reports))
	waitForTotals(t, c, s, reports)
	checkAllArrived(t, c, s, reports)
}
