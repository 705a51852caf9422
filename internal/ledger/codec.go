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

// seenSize is the length of a report in a record: identity, outcome and time.
const seenSize = len(ID{}) + 1 + 8

func appendSeen[K counter.Key[K]](b []byte, group []*pending[K]) []byte {
	for _, p := range group {
		b = append(b, p.id[:]...)
		b = append(b, byte(p.outcome))
		b = appendTime(b, p.at)
	}
	return b
}

var (
	errLength  = errors.New("the length is wrong")
	errOutcome = errors.New("there is no such outcome")
)

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

// recordSize is the length of a series without its key.
const recordSize = 1 + 5*8

func appendRecord[K counter.Key[K]](b []byte, r *counter.Record[K], encode func(K) []byte, temporality counter.Temporality) []byte {
	var flags byte
	if r.Overflow {
		flags |= flagOverflow
	}
	if r.ZeroTaken {
		flags |= flagZeroTaken
	}
	if temporality == counter.Delta {
		flags |= flagDelta
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Value))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Taken))
	b = appendTime(b, r.Start)
	b = appendTime(b, r.Counted)
	b = appendTime(b, r.Zeroed)
	return append(b, encode(r.Key)...)
}

func readRecord[K counter.Key[K]](b []byte, decode func([]byte) (K, error)) (counter.Record[K], error) {
	if len(b) < recordSize {
		return counter.Record[K]{}, errLength
	}
	key, err := decode(b[recordSize:])
	return counter.Record[K]{
		Key:       key,
		Overflow:  b[0]&flagOverflow != 0,
		ZeroTaken: b[0]&flagZeroTaken != 0,
		Value:     int64(binary.BigEndian.Uint64(b[1:])),
		Taken:     int64(binary.BigEndian.Uint64(b[9:])),
		Start:     readTime(b[17:]),
		Counted:   readTime(b[25:]),
		Zeroed:    readTime(b[33:]),
	}, err
}

// Times are nanoseconds since 1970, which every time here is after; 0 is no time.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

func readTime(b []byte) time.Time {
	nanoseconds := int64(binary.BigEndian.Uint64(b))
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds)
}
