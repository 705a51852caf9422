package e2e

import (
	"context"
	"errors"
	"fmt"
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

// TestHangingStore freezes the file system of the receiver's store: writes to it hang, and nobody waits for them for long.
func TestHangingStore(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := func(name string, arguments ...string) error {
		if printed, err := exec.CommandContext(context.WithoutCancel(ctx), name, arguments...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w: %s", name, arguments, err, printed)
		}
		return nil
	}
	s := startSink(t)
	d := newDeployment(t, s, "--set", "exporters::otlp_http/logs::sending_queue::enabled=false")
	image := filepath.Join(t.TempDir(), "image")
	err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 32<<20), os.MkdirAll(d.store, 0o700))
	if err == nil {
		err = run("mkfs.ext4", "-q", image)
	}
	if err == nil {
		err = run("mount", "-o", "loop", image, d.store)
	}
	if err != nil {
		t.Skip("a file system that can be frozen cannot be mounted here, which takes root: ", err)
	}
	t.Cleanup(func() {
		_ = run("fsfreeze", "-u", d.store)
		d.current.kill()
		if err := run("umount", "-l", d.store); err != nil {
			t.Error(err)
		}
	})
	if err := d.start(ctx); err != nil {
		t.Fatal(err)
	}
	reports := newReports(rand.New(rand.NewPCG(11, 12)), "hang-", 200)
	sender := newSender(d.failuresURL, 8, 13)
	if err := sender.send(ctx, reports[:50]); err != nil {
		t.Fatal(err)
	}
	if err := run("fsfreeze", "-f", d.store); err != nil {
		t.Fatal(err)
	}
	// What hangs is given up by its senders, and is handed over once. When the store has not responded for a while, nothing else is.
	random := rand.New(rand.NewPCG(14, 15))
	var sending sync.WaitGroup
	for _, r := range reports[50:100] {
		contentType, body := r.encode(random)
		sending.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if status, err := sender.post(ctx, r, contentType, body); status == http.StatusOK {
				t.Errorf("%s: %d, %v", r.id, status, err)
			}
		})
	}
	sending.Wait()
	err = d.wait(ctx, "the store is known to hang", func() bool { return strings.Contains(d.current.output.String(), "The store fails") })
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reports[100:110] {
		contentType, body := r.encode(random)
		if status, err := sender.post(ctx, r, contentType, body); status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d, %v", r.id, status, err)
		}
	}
	if missing := s.missing(idsOf(reports[100:110])); len(missing) != 10 {
		t.Errorf("%d reports were handed over though the store hung", 10-len(missing))
	}
	if err := run("fsfreeze", "-u", d.store); err != nil {
		t.Fatal(err)
	}
	if err := sender.send(ctx, reports); err != nil {
		t.Fatal(err)
	}
	waitForTotals(ctx, t, d, s, reports)
	checkArrivals(ctx, t, d, s, reports)
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
	// After a write that failed nothing is handed over that could not be kept. Where some were taken in between, it had worked again.
	if handed := len(refused) - len(s.missing(idsOf(refused))); handed > 1+len(taken) {
		t.Errorf("%d of %d reports that were refused were handed over, though nothing but %d was taken", handed, len(refused), len(taken))
	}
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
