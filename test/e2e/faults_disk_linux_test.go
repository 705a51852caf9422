package e2e

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// TestDiskFull takes the space away from the receiver's store, in two ways: a report that cannot be stored is not acknowledged, and all goes on by
// itself when there is space again.
func TestDiskFull(t *testing.T) {
	t.Run("a full file system", func(t *testing.T) {
		testDiskFull(t, func(t *testing.T, d *deployment) (fill, free func() error) {
			t.Helper()
			if err := os.MkdirAll(d.store, 0o700); err != nil {
				t.Fatal(err)
			}
			err := syscall.Mount("tmpfs", d.store, "tmpfs", 0, "size=1m")
			if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
				t.Skip("a small file system cannot be mounted here, which takes root; the other way needs no rights")
			}
			if err != nil {
				t.Fatal(err)
			}
			filler := filepath.Join(d.store, "filler")
			// Detached, because the collector is killed only after this.
			t.Cleanup(func() {
				if err := syscall.Unmount(d.store, syscall.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			fill = func() error {
				err := os.WriteFile(filler, make([]byte, 2<<20), 0o600)
				if !errors.Is(err, syscall.ENOSPC) {
					return errors.Join(errors.New("the file system is not full"), err)
				}
				return nil
			}
			return fill, func() error { return os.Remove(filler) }
		})
	})
	t.Run("files that may not grow", func(t *testing.T) {
		testDiskFull(t, func(t *testing.T, d *deployment) (fill, free func() error) {
			t.Helper()
			fill = func() error { return limitFileSize(d.current.process.Pid, 0) }
			return fill, func() error { return limitFileSize(d.current.process.Pid, ^uint64(0)) }
		})
	})
}

// limitFileSize sets how large a file may be that a process writes to. It is the soft limit, which everybody may raise again.
func limitFileSize(process int, size uint64) error {
	limit := syscall.Rlimit{Cur: size, Max: ^uint64(0)}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(process), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func testDiskFull(t *testing.T, prepare func(*testing.T, *deployment) (fill, free func() error)) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	random := rand.New(rand.NewPCG(7, 8))
	reports := newReports(random, "full-", 3000)
	next := func(n int) []*failure {
		some := reports[:n]
		reports = reports[n:]
		return some
	}
	s := startSink(t)
	// The exporter has no queue here: only the receiver's store is to run out of space.
	d := newDeployment(t, s, "--set", "exporters::otlp_http/logs::sending_queue::enabled=false")
	fill, free := prepare(t, d)
	if err := d.start(ctx); err != nil {
		t.Fatal(err)
	}
	sender := newSender(d.failuresURL, 8, 9)
	// sendUntilRefused sends reports once each until some were refused, and tells the two apart. The first few may find room in pages that are
	// there already.
	sendUntilRefused := func() (taken, refused []*failure) {
		for len(refused) < 20 {
			if len(reports) == 0 {
				t.Fatal("all reports were taken, though there is no space")
			}
			r := next(1)[0]
			contentType, body := r.encode(random)
			switch status, err := sender.post(ctx, r, contentType, body); {
			case err != nil:
				t.Fatal(err)
			case status == http.StatusOK:
				taken = append(taken, r)
			case status == http.StatusServiceUnavailable:
				refused = append(refused, r)
			default:
				t.Fatal("no answer")
			}
		}
		return taken, refused
	}

	all := next(50)
	if err := sender.send(ctx, all); err != nil {
		t.Fatal(err)
	}
	if err := fill(); err != nil {
		t.Fatal(err)
	}
	taken, refused := sendUntilRefused()
	// What is known already needs no space.
	if err := sender.send(ctx, all); err != nil {
		t.Fatal(err)
	}
	if err := free(); err != nil {
		t.Fatal(err)
	}
	process := d.current.process.Pid
	if err := sender.send(ctx, refused); err != nil {
		t.Fatal(err)
	}
	if d.current.process.Pid != process {
		t.Error("it took a restart")
	}
	all = slices.Concat(all, taken, refused)
	waitForTotals(ctx, t, d, s, all)
	if extra := s.surplus(); extra.records != 0 {
		t.Errorf("%d records were handed over again, though the process lived on", extra.records)
	}

	// Once more, and this time it is killed. What was acknowledged is there after the restart, and what was not may be sent again.
	if err := fill(); err != nil {
		t.Fatal(err)
	}
	taken, refused = sendUntilRefused()
	d.current.kill()
	if err := free(); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
	if err := d.start(ctx); err != nil {
		t.Fatal(err)
	}
	all = slices.Concat(all, taken)
	waitForTotals(ctx, t, d, s, all)
	all = slices.Concat(all, refused)
	if err := sender.send(ctx, all); err != nil {
		t.Fatal(err)
	}
	waitForTotals(ctx, t, d, s, all)
	if err := d.terminate(ctx); err != nil {
		t.Errorf("after SIGTERM: %v, want exit code 0", err)
	}
	checkTotals(t, s, all)
	s.checkRecords(t, idsOf(all))
	s.checkSeries(t)
	// Those that were refused before the kill had been handed over, once each, since nobody tried them again.
	if extra := s.surplus(); extra.records > len(refused) {
		t.Errorf("%d records were handed over again, the kill explains %d", extra.records, len(refused))
	}
}

// waitForTotals waits for totals that are sent from now on.
func waitForTotals(ctx context.Context, t *testing.T, d *deployment, s *sink, reports []*failure) {
	t.Helper()
	want, now := wanted(reports), time.Now().UnixNano()
	err := d.wait(ctx, "the totals are right", func() bool {
		lines, _ := s.totals().difference(want)
		return len(lines) == 0 && s.newest() > now
	})
	if err != nil {
		t.Error(err)
		checkTotals(t, s, reports)
		t.FailNow()
	}
}
