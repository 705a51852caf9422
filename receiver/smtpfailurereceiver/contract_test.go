package smtpfailurereceiver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// TestConsumeContract is the collector's own check of what a receiver owes to the pipelines after it.
func TestConsumeContract(t *testing.T) {
	free, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	config := defaultConfig()
	config.HTTP.NetAddr.Endpoint = address

	// The checker looks for an attribute that ours can only have with a prefix.
	inner := NewFactory()
	factory := receiver.NewFactory(metadata.Type, createDefaultConfig, receiver.WithLogs(
		func(ctx context.Context, settings receiver.Settings, config component.Config, next consumer.Logs) (receiver.Logs, error) {
			return inner.CreateLogs(ctx, settings, config, logsThat(func(ctx context.Context, logs plog.Logs) error {
				if logs.LogRecordCount() > 1 {
					// It takes what was refused for good to be dropped, but each report of a shared call is tried alone.
					return consumererror.NewPermanent(errors.New("one at a time"))
				}
				attributes := logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes()
				id, _ := attributes.Get(variablePrefix + receivertest.UniqueIDAttrName)
				attributes.PutStr(receivertest.UniqueIDAttrName, id.Str())
				return next.ConsumeLogs(ctx, logs)
			}))
		}, component.StabilityLevelAlpha))
	receivertest.CheckConsumeContract(receivertest.CheckConsumeContractParams{
		T: t, Factory: factory, Signal: pipeline.SignalLogs, Config: config, GenerateCount: 200,
		Generator: &sender{t: t, url: "http://" + address + defaultPath},
	})
}

// sender sends reports and repeats what is answered with 503, as a careful sender does.
type sender struct {
	t      *testing.T
	url    string
	client http.Client
	next   atomic.Int64
}

func (s *sender) Start() { s.client.Transport = new(http.Transport) }
func (s *sender) Stop()  { s.client.CloseIdleConnections() }

func (s *sender) Generate() []receivertest.UniqueIDAttrVal {
	id := strconv.FormatInt(s.next.Add(1), 10)
	for {
		form := url.Values{"id": {id}, receivertest.UniqueIDAttrName: {id}}
		answer, err := do(&s.client, newForm(s.t.Context(), s.url, form.Encode()))
		if err != nil {
			s.t.Error(err)
			return nil
		}
		if answer.status != http.StatusServiceUnavailable {
			return []receivertest.UniqueIDAttrVal{receivertest.UniqueIDAttrVal(id)}
		}
	}
}
