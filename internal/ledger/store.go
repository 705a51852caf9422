package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime/debug"

	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// store keeps records between runs. At most one run owns it.
type store interface {
	// claim makes this run the owner. It comes first, and once.
	claim(ctx context.Context) error
	// load calls each with the records that were committed, in their order.
	load(ctx context.Context, each func(record []byte) error) error
	// commit keeps records after the others, or in place of all others: all of them or, if it fails, any time later none
	// or all. It fails with ErrReplaced when another run has claimed the store. Without records it only finds that out.
	commit(ctx context.Context, records [][]byte, replace bool) error
	close(ctx context.Context) error
}

// What a storage extension holds: under "owner" which run owns it, and under the epoch of each run, which is one more than
// that of the run before, what that run has written, so that two runs never write the same key. "EPOCH/meta" says which
// generation of records is the present one, and how many of them were written at once in place of all others; the
// records are "EPOCH/GENERATION/0" and so on, up to the first that is not there. A start copies what is there into an
// epoch of its own, and its meta comes with the last of it. All values end in a checksum.
const (
	ownerKey = "owner"
	format   = "smtp_failure ledger"
	version  = 1

	// maxOps is the number of records that are read or removed at once, because a batch is held in memory as a whole.
	maxOps = 256
)

type owner struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Epoch   uint64 `json:"epoch"`
	// Run tells apart two runs that claim the store at the same time.
	Run string `json:"run"`
}

type meta struct {
	Generation uint64 `json:"generation"`
	Records    uint64 `json:"records"`
}

// clientStore keeps records in a storage extension.
type clientStore struct {
	client storage.Client
	// owner is what is under ownerKey for as long as the store is this run's.
	owner []byte
	epoch uint64
	// generation is the present one of epoch, next the number of its next record, which a failed write may have left.
	generation, next uint64
	// attempted is the number of records that failed writes may have left in the generation after the present one.
	attempted uint64
	// before is where load found the records of the run before; its epoch is 0 once they are removed.
	before struct{ epoch, generation, next uint64 }
}

func metaKey(epoch uint64) string { return fmt.Sprintf("%016x/meta", epoch) }

func recordKey(epoch, generation, number uint64) string {
	return fmt.Sprintf("%016x/%016x/%08x", epoch, generation, number)
}

var (
	errLeftAlone = errors.New("it was left as it is; move it away to begin with an empty one")
	errForeign   = fmt.Errorf("%w: it holds data of something else; %w", ErrStore, errLeftAlone)
	errContended = fmt.Errorf("%w: other collectors claim it at the same time", ErrStore)
	errChecksum  = errors.New("the checksum is wrong")
	errMissing   = errors.New("it is missing")
)

func corrupt(key string, err error) error {
	return fmt.Errorf("%w: %s is corrupt: %w; %w", ErrStore, key, err, errLeftAlone)
}

func (s *clientStore) claim(ctx context.Context) error {
	const tries = 10
	for range tries {
		before := storage.GetOperation(ownerKey)
		if err := s.batch(ctx, before); err != nil {
			return err
		}
		last, err := readOwner(before.Value)
		if err == nil && before.Value == nil {
			err = s.expectEmpty(ctx)
		}
		if err != nil {
			return err
		}
		s.epoch = max(s.epoch, last.Epoch) + 1
		mine, err := json.Marshal(owner{Format: format, Version: version, Epoch: s.epoch, Run: rand.Text()})
		if err != nil {
			return err
		}
		s.owner = withChecksum(mine)
		replaced := storage.GetOperation(ownerKey)
		if err := s.batch(ctx, replaced, storage.SetOperation(ownerKey, s.owner)); err != nil {
			return err
		}
		if bytes.Equal(replaced.Value, before.Value) {
			return nil
		}
		// Who came in between may have written to the epoch that this run was to have, or to a later one.
		if last, err = readOwner(replaced.Value); err != nil {
			return err
		}
		s.epoch = max(s.epoch, last.Epoch)
	}
	return errContended
}

func readOwner(content []byte) (o owner, err error) {
	if content == nil {
		return o, nil
	}
	content, err = withoutChecksum(content)
	if err == nil {
		err = json.Unmarshal(content, &o)
	}
	switch {
	case err != nil || o.Format != format:
		return o, fmt.Errorf("%w: it holds no ledger of this receiver, or a corrupt one; %w", ErrStore, errLeftAlone)
	case o.Version != version:
		return o, fmt.Errorf("%w: it was written by another release (version %d, this one reads %d); %w",
			ErrStore, o.Version, version, errLeftAlone)
	}
	return o, nil
}

// expectEmpty refuses a store that holds something but no ledger, where the extension can tell.
func (s *clientStore) expectEmpty(ctx context.Context) error {
	walker, ok := s.client.(storage.Walker)
	if !ok {
		return nil
	}
	return walker.Walk(ctx, func(string, []byte) ([]*storage.Operation, error) { return nil, errForeign })
}

func (s *clientStore) load(ctx context.Context, each func([]byte) error) error {
	// A run that ended before it had copied what it found has no meta.
	for epoch := s.epoch - 1; epoch > 0; epoch-- {
		found := storage.GetOperation(metaKey(epoch))
		if err := s.batch(ctx, found); err != nil {
			return err
		}
		if found.Value == nil {
			continue
		}
		var m meta
		content, err := withoutChecksum(found.Value)
		if err == nil {
			err = json.Unmarshal(content, &m)
		}
		if err != nil {
			return corrupt(found.Key, err)
		}
		return s.loadRecords(ctx, epoch, m, each)
	}
	return nil
}

func (s *clientStore) loadRecords(ctx context.Context, epoch uint64, m meta, each func([]byte) error) error {
	ended := false
	for next := uint64(0); !ended; next += maxOps {
		ops := make([]*storage.Operation, maxOps)
		for i := range ops {
			ops[i] = storage.GetOperation(recordKey(epoch, m.Generation, next+uint64(i)))
		}
		if err := s.batch(ctx, ops...); err != nil {
			return err
		}
		for i, op := range ops {
			number := next + uint64(i)
			if op.Value == nil && number >= m.Records {
				ended = true
				continue
			}
			content, err := withoutChecksum(op.Value)
			if op.Value == nil || ended {
				err = errMissing
			}
			if err == nil {
				err = each(content)
			}
			if err != nil {
				return corrupt(op.Key, err)
			}
			s.before.next = number + 1
		}
	}
	s.before.epoch, s.before.generation = epoch, m.Generation
	return nil
}

func (s *clientStore) commit(ctx context.Context, records [][]byte, replace bool) error {
	generation, first := s.generation, s.next
	if replace {
		generation, first = s.generation+1, 0
	}
	holder := storage.GetOperation(ownerKey)
	ops := []*storage.Operation{holder}
	for i, record := range records {
		key := recordKey(s.epoch, generation, first+uint64(i))
		ops = append(ops, storage.SetOperation(key, withChecksum(record)))
	}
	n := first + uint64(len(records))
	if replace {
		content, err := json.Marshal(meta{Generation: generation, Records: n})
		if err != nil {
			return err
		}
		ops = append(ops, storage.SetOperation(metaKey(s.epoch), withChecksum(content)))
		for number := n; number < s.attempted; number++ {
			ops = append(ops, storage.DeleteOperation(recordKey(s.epoch, generation, number)))
		}
		// The one at next may be there after a write that failed.
		for number := uint64(0); number <= s.next; number++ {
			ops = append(ops, storage.DeleteOperation(recordKey(s.epoch, s.generation, number)))
		}
		s.attempted = max(s.attempted, n)
	}
	if err := s.batch(ctx, ops...); err != nil {
		return err
	}
	if !bytes.Equal(holder.Value, s.owner) {
		return ErrReplaced
	}
	s.next = n
	if replace {
		s.generation, s.attempted = generation, 0
		return s.removeBefore(ctx)
	}
	return nil
}

// removeBefore removes what the run before has left, once all of it is in this run's epoch.
func (s *clientStore) removeBefore(ctx context.Context) error {
	if s.before.epoch == 0 {
		return nil
	}
	ops := []*storage.Operation{storage.DeleteOperation(metaKey(s.before.epoch))}
	for number := uint64(0); number <= s.before.next; number++ {
		ops = append(ops, storage.DeleteOperation(recordKey(s.before.epoch, s.before.generation, number)))
		if len(ops) >= maxOps || number == s.before.next {
			if err := s.batch(ctx, ops...); err != nil {
				return err
			}
			ops = nil
		}
	}
	s.before.epoch = 0
	return nil
}

func (s *clientStore) close(ctx context.Context) error { return s.client.Close(ctx) }

// batch makes an error of a damaged store that panics, or that is shorter than what is mapped of it into memory.
func (s *clientStore) batch(ctx context.Context, ops ...*storage.Operation) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: it may be damaged: %v; %w", ErrStore, cause, errLeftAlone)
		}
	}()
	if err := s.client.Batch(ctx, ops...); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// withChecksum appends a checksum, because not every store notices when bits are lost.
func withChecksum(content []byte) []byte {
	return binary.BigEndian.AppendUint32(content, crc32.Checksum(content, castagnoli))
}

func withoutChecksum(b []byte) ([]byte, error) {
	n := len(b) - crc32.Size
	if n < 0 || crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]) {
		return nil, errChecksum
	}
	return b[:n], nil
}
