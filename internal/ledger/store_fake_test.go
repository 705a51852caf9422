package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// disk is what a storage extension keeps: it outlives the clients that write to it, and the processes that they live in.
type disk struct {
	mu   sync.Mutex
	data map[string]string
}

func newDisk() *disk { return &disk{data: make(map[string]string)} }

// snapshot returns what the disk holds, byte for byte.
func (d *disk) snapshot() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.data)
}

func (d *disk) set(key, value string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.data[key] = value
}

func (d *disk) delete(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.data, key)
}

// keys returns how many keys begin with the prefix.
func (d *disk) keys(prefix string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key := range d.data {
		if len(key) >= len(prefix) && key[:len(prefix)] == prefix {
			n++
		}
	}
	return n
}

// client returns a new client of the disk, as a process gets it from the storage extension when it starts.
func (d *disk) client() *fakeClient { return &fakeClient{disk: d} }

var (
	errFull     = errors.New("no space left on device")
	errNth      = errors.New("this one fails")
	errReadOnly = errors.New("read-only file system")
	errUnread   = errors.New("input/output error")
	errDead     = errors.New("the process is dead")
)

// fakeClient is a storage client whose batches are atomic, and that fails as it is told to. Its fields are set before it is used, or
// through its methods.
type fakeClient struct {
	disk *disk
	// before is called with each write, before it takes effect and with no lock held: it may block.
	before func(ops []*storage.Operation)

	mu sync.Mutex
	// faults
	full, readOnly, unreadable bool
	nth                        int  // every nth write fails, when it is above 0
	ambiguous                  bool // and has taken effect all the same
	crashIn                    int  // the process dies at that write from now, when it is above 0
	crashAfter                 bool // and the write has taken effect
	dead                       bool
	closed                     bool
	// figures
	writes, failed, reads, ops, mostDeletes, mostReads int
}

var _ storage.Client = (*fakeClient)(nil)

// set changes the client under its lock.
func (c *fakeClient) set(change func(c *fakeClient)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// wrote returns how many writes there were, those that failed among them.
func (c *fakeClient) wrote() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

func (c *fakeClient) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// kill ends the process: nothing that it does from now on reaches the disk.
func (c *fakeClient) kill() { c.set(func(c *fakeClient) { c.dead = true }) }

func (c *fakeClient) Get(ctx context.Context, key string) ([]byte, error) {
	op := storage.GetOperation(key)
	err := c.Batch(ctx, op)
	return op.Value, err
}

func (c *fakeClient) Set(ctx context.Context, key string, value []byte) error {
	return c.Batch(ctx, storage.SetOperation(key, value))
}

func (c *fakeClient) Delete(ctx context.Context, key string) error {
	return c.Batch(ctx, storage.DeleteOperation(key))
}

func (c *fakeClient) Batch(_ context.Context, ops ...*storage.Operation) error {
	write := slices.ContainsFunc(ops, func(op *storage.Operation) bool { return op.Type != storage.Get })
	if write && c.before != nil {
		c.before(ops)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		panic("the client is used after it was closed")
	}
	switch {
	case c.dead:
		return errDead
	case !write:
		c.reads++
		c.mostReads = max(c.mostReads, len(ops))
		if c.unreadable {
			return errUnread
		}
		c.apply(ops)
		return nil
	}
	c.writes++
	c.ops += len(ops)
	if c.crashIn > 0 {
		if c.crashIn--; c.crashIn == 0 {
			if c.crashAfter {
				c.apply(ops)
			}
			c.dead = true
			return errDead
		}
	}
	switch {
	case c.readOnly:
		c.failed++
		return errReadOnly
	case c.full:
		c.failed++
		return errFull
	case c.nth > 0 && c.writes%c.nth == 0:
		c.failed++
		if c.ambiguous {
			c.apply(ops)
		}
		return errNth
	}
	c.apply(ops)
	return nil
}

// apply does all operations at once. It does not accept two changes of the same key: then their order would matter.
func (c *fakeClient) apply(ops []*storage.Operation) {
	c.disk.mu.Lock()
	defer c.disk.mu.Unlock()
	deletes := 0
	touched := make(map[string]bool, len(ops))
	for _, op := range ops {
		if op.Type != storage.Get {
			if touched[op.Key] {
				panic(fmt.Sprintf("two operations of one batch change %q", op.Key))
			}
			touched[op.Key] = true
		}
		switch op.Type {
		case storage.Get:
			op.Value = nil
			if value, ok := c.disk.data[op.Key]; ok {
				op.Value = []byte(value)
			}
		case storage.Set:
			c.disk.data[op.Key] = string(op.Value)
		case storage.Delete:
			delete(c.disk.data, op.Key)
			deletes++
		}
	}
	c.mostDeletes = max(c.mostDeletes, deletes)
}

func (c *fakeClient) Close(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

// walkingClient is a client that can tell what is there.
type walkingClient struct{ *fakeClient }

var _ storage.Walker = walkingClient{}

func (c walkingClient) Walk(_ context.Context, each storage.WalkFunc) error {
	for key, value := range c.disk.snapshot() {
		if _, err := each(key, []byte(value)); err != nil {
			return err
		}
	}
	return nil
}
