package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

// releasedFolder holds stores as a release wrote them, with the history of writeHistory: keys and values, as JSON. They are never changed. A test
// that fails here says that a store of that release is not read any more, or that an older release of the same version would not
// read what this one writes: then the version has to be raised.
func releasedFolder(version int) string {
	return filepath.Join("testdata", fmt.Sprintf("store-v%d", version))
}

var releasedStores = []struct {
	name        string
	temporality counter.Temporality
	// killed histories end without Close, and leave a journal that is not folded. Version 1 had none.
	killed bool
	since  int
}{
	{"cumulative", counter.Cumulative, false, 1},
	{"delta", counter.Delta, false, 1},
	{"cumulative_killed", counter.Cumulative, true, 2},
	{"delta_killed", counter.Delta, true, 2},
}

func releasedSetup(temporality counter.Temporality) *setup {
	s := newSetup()
	s.metrics, s.temporality, s.limit, s.maxStale, s.ttl = []string{"failures", "by_tag"}, temporality, 2, time.Hour, 2*time.Hour
	return s
}

// openReleased opens a ledger of the history, with a secret.
func (s *setup) openReleased(t *testing.T, client *fakeClient) *Ledger[kind] {
	t.Helper()
	o := s.options()
	o.Secret = []byte("0123456789abcdef0123456789abcdef")
	l, err := Open(t.Context(), client, o)
	require.NoError(t, err)
	return l
}

// writeHistory puts all into a store that can be in one: reports of both outcomes, expired ones, a slot that was used again, an overflow, zeros that
// were taken and that were not, and what was counted since.
func (s *setup) writeHistory(t *testing.T, disk *disk, killed bool) {
	t.Helper()
	collect := func(l *Ledger[kind]) {
		_, err := l.Collect(t.Context())
		require.NoError(t, err)
	}
	l := s.openReleased(t, disk.client())
	commit := func(n int, outcome Outcome, name string, tags ...string) {
		attempt, known, err := l.Begin(t.Context(), id(n))
		require.NoError(t, err)
		require.Zero(t, known)
		counts := Counts[kind]{{{name}}, nil}
		for _, tag := range tags {
			counts[1] = append(counts[1], kind{tag})
		}
		_, err = attempt.Commit(t.Context(), outcome, counts)
		require.NoError(t, err)
		s.move(1500 * time.Millisecond)
	}
	commit(1, Accepted, "early", "news")
	flush(t, l)
	s.move(time.Second)
	flush(t, l)
	s.move(time.Hour)
	commit(2, Accepted, "550", "news", "offer")
	flush(t, l) // "early" has gone stale
	s.move(time.Second)
	flush(t, l)
	s.move(time.Hour)
	commit(3, Accepted, "550", "news")
	if killed {
		collect(l)
	}
	commit(4, Refused, "451")
	commit(5, Accepted, "421", "news", "offer", "third")
	if !killed {
		collect(l)
	}
	commit(6, Accepted, "550", "news")
	if !killed {
		require.NoError(t, l.Close(t.Context()))
	}
}

func readReleased(t *testing.T, file string) *disk {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var values map[string][]byte
	require.NoError(t, json.Unmarshal(content, &values))
	d := newDisk()
	for key, value := range values {
		d.data[key] = string(value)
	}
	return d
}

// TestTheFormatIsThatOfItsVersion writes today what a release wrote. Without a file for the version, it makes one, to be committed with a release.
func TestTheFormatIsThatOfItsVersion(t *testing.T) {
	for _, tc := range releasedStores {
		t.Run(tc.name, func(t *testing.T) {
			disk := newDisk()
			releasedSetup(tc.temporality).writeHistory(t, disk, tc.killed)
			values := make(map[string][]byte)
			for key, value := range disk.snapshot() {
				values[key] = []byte(value)
			}
			today, err := json.MarshalIndent(values, "", "  ")
			require.NoError(t, err)

			file := filepath.Join(releasedFolder(version), tc.name+".json")
			released, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
				require.NoError(t, os.WriteFile(file, append(today, '\n'), 0o600))
				t.Fatalf("%s was not there and was written", file)
			}
			require.NoError(t, err)
			assert.Equal(t, string(released), string(today)+"\n", "the format changed, so its version has to")
		})
	}
}

// TestAReleasedStoreGoesOn opens the stores of every version so far.
func TestAReleasedStoreGoesOn(t *testing.T) {
	for v := 1; v <= version; v++ {
		for _, tc := range releasedStores {
			if v < tc.since {
				continue
			}
			t.Run(fmt.Sprint(v, tc.name), func(t *testing.T) {
				disk := readReleased(t, filepath.Join(releasedFolder(v), tc.name+".json"))
				s := releasedSetup(tc.temporality)
				s.instance = "second"
				s.move(2*time.Hour + 10*time.Second)
				l := s.openReleased(t, disk.client())

				assert.Equal(t, "first", l.Instance())
				assert.Equal(t, "0123456789abcdef0123456789abcdef", string(l.Secret()))
				assert.Equal(t, 5, l.Remembered(), "the first has expired")
				for n, outcome := range map[int]Outcome{1: 0, 2: Accepted, 3: Accepted, 4: Refused, 5: Accepted, 6: Accepted} {
					attempt, known, err := l.Begin(t.Context(), id(n))
					require.NoError(t, err)
					assert.Equal(t, outcome, known, n)
					if attempt != nil {
						attempt.Release()
					}
				}
				assert.Equal(t, map[string]int64{"550": 3, "451": 1, "overflow": 1}, totals(l, 0))
				assert.Equal(t, map[string]int64{"news": 5, "offer": 2, "overflow": 1}, totals(l, 1))

				s.count(t, l, 7, "550")
				points := flush(t, l)
				s.move(time.Second)
				points = append(points, flush(t, l)...)
				if tc.temporality == counter.Delta {
					assert.Equal(t, int64(5), sum(points), "what was not taken before, and one more: %v", points)
					return
				}
				last := make(map[string]counter.Point[kind])
				for _, p := range points {
					last[p.Key.name] = p
				}
				assert.Equal(t, int64(4), last["550"].Value)
				assert.Equal(t, began.Add(2500*time.Millisecond), last["550"].Start.UTC(), "the series is the one that began then")
			})
		}
	}
}
