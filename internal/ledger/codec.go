package ledger

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends a checksum, because not every store notices when bits are lost.
func seal(content []byte) []byte {
	return binary.BigEndian.AppendUint32(content, crc32.Checksum(content, castagnoli))
}

var errChecksum = errors.New("the checksum is wrong")

func unseal(sealed []byte) ([]byte, error) {
	n := len(sealed) - crc32.Size
	if n < 0 || crc32.Checksum(sealed[:n], castagnoli) != binary.BigEndian.Uint32(sealed[n:]) {
		return nil, errChecksum
	}
	return sealed[:n], nil
}

// seenSize is the length of a report in a record of version 1: identity, outcome and time. Such a record holds nothing else.
const seenSize = len(ID{}) + 1 + 8

var (
	errLength  = errors.New("the length is wrong")
	errOutcome = errors.New("there is no such outcome")
)

// readSeen reads a record of version 1.
func readSeen(b []byte, each func(ID, Outcome, time.Time)) error {
	if len(b)%seenSize != 0 {
		return errLength
	}
	for ; len(b) > 0; b = b[seenSize:] {
		outcome := Outcome(b[len(ID{})])
		if outcome != Accepted && outcome != Refused {
			return errOutcome
		}
		each(ID(b[:len(ID{})]), outcome, readTime(b[len(ID{})+1:]))
	}
	return nil
}

// Bits of the first byte of a series.
const (
	flagOverflow = 1 << iota
	flagZeroTaken
	// flagDelta says that the series was reported as deltas when it was kept, and not as totals.
	flagDelta
)

func temporalityFlag(temporality counter.Temporality) byte {
	if temporality == counter.Delta {
		return flagDelta
	}
	return 0
}

// series is a series as it is kept, of a metric that may be disabled: its key is read by nobody.
type series struct {
	flags                  byte
	value, taken           int64
	start, counted, zeroed time.Time
	key                    []byte
}

// count adds what a record of the journal says.
func (s *series) count(c *count) {
	if c.flags&flagDelta != 0 && s.flags&flagDelta == 0 {
		s.take()
	}
	s.flags = s.flags&^flagDelta | c.flags&flagDelta
	s.value += c.add
	s.counted = c.counted
}

// take is what the first run with deltas after one with totals does: what was counted as a total was also reported as such.
func (s *series) take() { s.taken = s.value }

// seriesSize is the length of a series without its key.
const seriesSize = 1 + 5*8

func appendSeries(b []byte, s *series) []byte {
	b = append(b, s.flags)
	b = binary.BigEndian.AppendUint64(b, uint64(s.value))
	b = binary.BigEndian.AppendUint64(b, uint64(s.taken))
	b = appendTime(b, s.start)
	b = appendTime(b, s.counted)
	b = appendTime(b, s.zeroed)
	return append(b, s.key...)
}

// readSeries returns a series that shares the memory of b.
func readSeries(b []byte) (series, error) {
	if len(b) < seriesSize {
		return series{}, errLength
	}
	return series{
		flags: b[0],
		value: int64(binary.BigEndian.Uint64(b[1:])),
		taken: int64(binary.BigEndian.Uint64(b[9:])),
		start: readTime(b[17:]), counted: readTime(b[25:]), zeroed: readTime(b[33:]),
		key: b[seriesSize:],
	}, nil
}

// kept returns a series as it is kept, restored the other way round.
func kept[K counter.Key[K]](r *counter.Record[K], encode func(K) []byte, temporality counter.Temporality) *series {
	s := &series{
		flags: temporalityFlag(temporality), value: r.Value, taken: r.Taken, start: r.Start, counted: r.Counted, zeroed: r.Zeroed, key: encode(r.Key),
	}
	if r.Overflow {
		s.flags |= flagOverflow
	}
	if r.ZeroTaken {
		s.flags |= flagZeroTaken
	}
	return s
}

func restored[K counter.Key[K]](s *series, decode func([]byte) (K, error)) (counter.Record[K], error) {
	key, err := decode(s.key)
	return counter.Record[K]{
		Key: key, Overflow: s.flags&flagOverflow != 0, ZeroTaken: s.flags&flagZeroTaken != 0,
		Value: s.value, Taken: s.taken, Start: s.start, Counted: s.counted, Zeroed: s.zeroed,
	}, err
}

// Times are nanoseconds since 1970, which every time here is after; 0 is no time.
func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(nanoseconds(t)))
}

func readTime(b []byte) time.Time {
	return timeOf(int64(binary.BigEndian.Uint64(b)))
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds)
}
