package smtpfailurereceiver

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/zap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/privacy"
)

// Names of the values that the ledger stores for the receiver.
const (
	storedInstanceID = "service.instance.id"
	storedKnownKeys  = "signature.known_keys"
	storedSecret     = "recipient.secret"
	storedPrivacy    = "recipient.privacy"
)

// openLedger opens the ledger in the storage extension, if one is configured, else in memory.
func (r *smtpFailureReceiver) openLedger(ctx context.Context, host component.Host) (*ledger.Ledger, error) {
	options := ledger.Options{
		Deduplicate: r.config.Deduplication.Enabled,
		TTL:         r.config.Deduplication.TTL,
		MaxEntries:  r.config.Deduplication.MaxEntries,
		WaitTimeout: r.waitTimeout,
		Metrics:     r.counters.names(),
		Delta:       r.counters.delta,
		Limit:       r.config.Aggregation.CardinalityLimit,
		Overflow:    overflowKey,
		MaxStale:    r.config.Aggregation.MaxStale,
		Now:         r.now,
		Health:      func(err error) { r.status.set(partStore, err) },
		Observe:     r.telemetry.stored,
	}
	if r.config.Storage == nil {
		return ledger.New(options), nil
	}

	extension, ok := host.GetExtensions()[*r.config.Storage].(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("storage: %q; must be the name of a storage extension, such as file_storage, "+
			"that is listed in service::extensions", r.config.Storage)
	}
	client, err := r.storageClient(ctx, extension)
	if err != nil {
		return nil, err
	}
	opened, err := ledger.Open(ctx, client, options)
	if err != nil {
		err = fmt.Errorf("storage: what the extension %q keeps for %q: %w", r.config.Storage, r.settings.ID, err)
		return nil, errors.Join(err, client.Close(ctx))
	}
	return opened, nil
}

// storageClient opens the store. An extension whose file is damaged may panic, even where nobody
// can recover, so the file is logged first.
func (r *smtpFailureReceiver) storageClient(
	ctx context.Context, extension storage.Extension,
) (client storage.Client, err error) {
	file := "receiver_" + r.settings.ID.Type().String() + "_" + r.settings.ID.Name()
	r.logger.Info("Opening the store",
		zap.Stringer("storage", r.config.Storage), zap.String("file with file_storage", file))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("it panicked: %v", cause)
		}
		if err != nil {
			err = fmt.Errorf("storage: the extension %q cannot open what it keeps (with file_storage, the file %s "+
				"in its directory): %w; if it is damaged, move it away to begin with an empty one",
				r.config.Storage, file, err)
		}
	}()
	return extension.GetClient(ctx, component.KindReceiver, r.settings.ID, "")
}

// restore takes over the instance id, the secret and the series of the run before.
func (r *smtpFailureReceiver) restore(ctx context.Context) error {
	if r.config.Storage != nil && r.ledger.Value(storedInstanceID) == nil {
		r.logger.Info("The store is empty, so all counters begin at zero", zap.Stringer("storage", r.config.Storage))
	}
	instance, _ := r.resource.Attributes().Get(attributeServiceInstanceID)
	id, err := r.loadOrStore(ctx, storedInstanceID, []byte(instance.Str()))
	if err != nil {
		return err
	}
	if _, configured := r.config.ResourceAttributes[attributeServiceInstanceID]; !configured {
		instance.SetStr(string(id))
	}
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails
	if secret, err = r.loadOrStore(ctx, storedSecret, secret); err != nil {
		return err
	}
	if len(r.privacy.Key) == 0 {
		r.privacy.Key = secret
	}
	if r.privacy.Mode != privacy.ModeFull {
		r.decoder.Key = r.privacy.Key
	}

	before, now := r.ledger.Value(storedPrivacy), r.privacy.Encode()
	switch {
	case bytes.Equal(before, now):
		return nil
	case !r.privacy.StricterThan(before):
		return r.ledger.SetValue(ctx, storedPrivacy, now)
	case before != nil:
		r.logger.Info("All counters begin at zero, because they reveal more than " +
			"recipient::mode and recipient::variables allow now")
	}
	return r.ledger.ForgetSeries(ctx, storedPrivacy, now)
}

// loadOrStore returns the value of that name, and stores an initial one if there is none.
func (r *smtpFailureReceiver) loadOrStore(ctx context.Context, name string, initial []byte) ([]byte, error) {
	if value := r.ledger.Value(name); value != nil {
		return value, nil
	}
	return initial, r.ledger.SetValue(ctx, name, initial)
}

// storeKnownKeys stores the names of keys that verified calls, for the next run.
func (r *smtpFailureReceiver) storeKnownKeys(names []string) {
	ctx, cancel := context.WithTimeout(context.Background(), r.waitTimeout)
	defer cancel()
	if err := r.ledger.SetValue(ctx, storedKnownKeys, []byte(strings.Join(names, " "))); err != nil {
		r.logger.Warn("The names of known keys were not kept", zap.Error(err))
	}
}
