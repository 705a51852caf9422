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
	"slices"

	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// store keeps records. At most one run of the process owns it.
type store interface {
	// claim makes this run the owner. It is called first, and once.
	claim(ctx context.Context) error
	// load calls apply with the records in the order of their commits.
	load(ctx context.Context, apply func(*record)) error
	// commit appends records, or replaces all others by them. After an error all of them may be
	// there, now or later, or none. It fails with ErrReplaced if another run has claimed the store;
	// without records that is all it finds out.
	commit(ctx context.Context, records [][]byte, replace bool) error
	close(ctx context.Context) error
}

// The keys of a storage extension:
//
//	owner                    owner, the run that owns the store and its epoch
//	EPOCH/meta               meta, the current generation of records
//	EPOCH/GENERATION/NUMBER  record, from number 0 to the first that is missing
//
// Each run has the next epoch, and writes to keys of that only. It starts with a copy of what the
// run before has left. All values end in a checksum.
const (
	ownerKey = "owner"
	format   = "smtp_failure ledger"
	version  = 1

	// maxBatch is the number of records to read or delete at once, because a batch is held in
	// memory.
	maxBatch = 256
)

type owner struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Epoch   uint64 `json:"epoch"`
	Run     string `json:"run"` // random, so that it differs between runs that claim one epoch
}

type meta struct {
	Generation uint64 `json:"generation"`
	Records    uint64 `json:"records"` // how many were written together with this
}

// clientStore keeps records in a storage extension.
type clientStore struct {
	client    storage.Client
	owner     []byte      // the value of ownerKey while this run owns the store
	current   generation  // the records of this run
	attempted uint64      // how many records failed commits may have left in the next generation
	previous  *generation // the records of the run before, until they are deleted
}

// generation is a sequence of records. One at next may be there after a commit that failed.
type generation struct{ epoch, number, next uint64 }

func (g *generation) key(record uint64) string {
	return fmt.Sprintf("%016x/%016x/%08x", g.epoch, g.number, record)
}

// deletes returns operations that delete the records from first to the one before end.
func (g *generation) deletes(first, end uint64) (ops []*storage.Operation) {
	for record := first; record < end; record++ {
		ops = append(ops, storage.DeleteOperation(g.key(record)))
	}
	return ops
}

func metaKey(epoch uint64) string { return fmt.Sprintf("%016x/meta", epoch) }

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
	const attempts = 10
	for range attempts {
		current, err := s.get(ctx, ownerKey)
		if err != nil {
			return err
		}
		if current == nil {
			if err := s.expectEmpty(ctx); err != nil {
				return err
			}
		}
		last, err := decodeOwner(current)
		if err != nil {
			return err
		}
		s.current.epoch = max(s.current.epoch, last.Epoch) + 1
		s.owner, err = marshal(owner{Format: format, Version: version, Epoch: s.current.epoch, Run: rand.Text()})
		if err != nil {
			return err
		}
		replaced := storage.GetOperation(ownerKey)
		if err := s.batch(ctx, replaced, storage.SetOperation(ownerKey, s.owner)); err != nil {
			return err
		}
		if bytes.Equal(replaced.Value, current) {
			return nil
		}
		// Another run claimed the store in between, and may have written to this epoch or a later
		// one.
		if last, err = decodeOwner(replaced.Value); err != nil {
			return err
		}
		s.current.epoch = max(s.current.epoch, last.Epoch)
	}
	return errContended
}

func decodeOwner(content []byte) (o owner, err error) {
	if content == nil {
		return o, nil
	}
	err = unmarshal(content, &o)
	switch {
	case err != nil || o.Format != format:
		return o, fmt.Errorf("%w: it holds no ledger of this receiver, or a corrupt one; %w", ErrStore, errLeftAlone)
	case o.Version != version:
		return o, fmt.Errorf("%w: it was written by another release (version %d, this one reads %d); %w",
			ErrStore, o.Version, version, errLeftAlone)
	}
	return o, nil
}

// expectEmpty fails if the store holds something, where the extension can tell.
func (s *clientStore) expectEmpty(ctx context.Context) error {
	walker, ok := s.client.(storage.Walker)
	if !ok {
		return nil
	}
	return walker.Walk(ctx, func(string, []byte) ([]*storage.Operation, error) { return nil, errForeign })
}

func (s *clientStore) load(ctx context.Context, apply func(*record)) error {
	// A run that ended before its first commit has no meta.
	for epoch := s.current.epoch - 1; epoch > 0; epoch-- {
		content, err := s.get(ctx, metaKey(epoch))
		if err != nil {
			return err
		}
		if content == nil {
			continue
		}
		var m meta
		if err := unmarshal(content, &m); err != nil {
			return corrupt(metaKey(epoch), err)
		}
		s.previous = &generation{epoch: epoch, number: m.Generation}
		return s.loadRecords(ctx, s.previous, m.Records, apply)
	}
	return nil
}

// loadRecords reads a generation of at least so many records, and sets its next.
func (s *clientStore) loadRecords(ctx context.Context, g *generation, atLeast uint64, apply func(*record)) error {
	for ended := false; !ended; {
		ops := make([]*storage.Operation, maxBatch)
		for i := range ops {
			ops[i] = storage.GetOperation(g.key(g.next + uint64(i)))
		}
		if err := s.batch(ctx, ops...); err != nil {
			return err
		}
		for _, op := range ops {
			if op.Value == nil && g.next >= atLeast {
				ended = true
				continue
			}
			if op.Value == nil || ended {
				return corrupt(op.Key, errMissing)
			}
			content, err := withoutChecksum(op.Value)
			if err != nil {
				return corrupt(op.Key, err)
			}
			r, err := decodeRecord(content)
			if err != nil {
				return corrupt(op.Key, err)
			}
			apply(r)
			g.next++
		}
	}
	return nil
}

func (s *clientStore) commit(ctx context.Context, records [][]byte, replace bool) error {
	written := s.current
	if replace {
		written.number++
		written.next = 0
	}
	current := storage.GetOperation(ownerKey)
	ops := []*storage.Operation{current}
	for _, record := range records {
		ops = append(ops, storage.SetOperation(written.key(written.next), withChecksum(record)))
		written.next++
	}
	if replace {
		content, err := marshal(meta{Generation: written.number, Records: written.next})
		if err != nil {
			return err
		}
		ops = append(ops, storage.SetOperation(metaKey(written.epoch), content))
		ops = append(ops, written.deletes(written.next, s.attempted)...)
		ops = append(ops, s.current.deletes(0, s.current.next+1)...)
		s.attempted = max(s.attempted, written.next)
	}
	if err := s.batch(ctx, ops...); err != nil {
		return err
	}
	if !bytes.Equal(current.Value, s.owner) {
		return ErrReplaced
	}
	s.current = written
	if replace {
		s.attempted = 0
		return s.deletePrevious(ctx)
	}
	return nil
}

// deletePrevious deletes the records of the run before, once this run has a copy.
func (s *clientStore) deletePrevious(ctx context.Context) error {
	if s.previous == nil {
		return nil
	}
	ops := []*storage.Operation{storage.DeleteOperation(metaKey(s.previous.epoch))}
	ops = append(ops, s.previous.deletes(0, s.previous.next+1)...)
	for some := range slices.Chunk(ops, maxBatch) {
		if err := s.batch(ctx, some...); err != nil {
			return err
		}
	}
	s.previous = nil
	return nil
}

func (s *clientStore) close(ctx context.Context) error { return s.client.Close(ctx) }

func (s *clientStore) get(ctx context.Context, key string) ([]byte, error) {
	op := storage.GetOperation(key)
	err := s.batch(ctx, op)
	return op.Value, err
}

// batch returns an error if the store is damaged such that it panics, or shorter than what is
// mapped of it into memory.
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

func marshal(v any) ([]byte, error) {
	content, err := json.Marshal(v)
	return withChecksum(content), err
}

func unmarshal(b []byte, v any) error {
	content, err := withoutChecksum(b)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, v)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// withChecksum appends a checksum, because not every store notices lost bits.
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
