package smtpfailurereceiver

import (
	"context"
	"errors"
	"net"
	"net/http"
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

// TestConsumeContract is the collector's own test of what a receiver does with errors of pipelines.
func TestConsumeContract(t *testing.T) {
	free, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	config := defaultConfig()
	config.HTTP.NetAddr.Endpoint = address

	createLogs := func(
		ctx context.Context, settings receiver.Settings, config component.Config, next consumer.Logs,
	) (receiver.Logs, error) {
		return NewFactory().CreateLogs(ctx, settings, config, logsFunc(func(ctx context.Context, logs plog.Logs) error {
			if logs.LogRecordCount() > 1 {
				// The test expects what is refused for good to be dropped, but the reports of a
				// shared call are each tried again alone.
				return consumererror.NewPermanent(errors.New("one at a time"))
			}
			// The test looks for an attribute without the prefix of the receiver's.
			attributes := logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes()
			id, _ := attributes.Get(variablePrefix + receivertest.UniqueIDAttrName)
			attributes.PutStr(receivertest.UniqueIDAttrName, id.Str())
			return next.ConsumeLogs(ctx, logs)
		}))
	}
	receivertest.CheckConsumeContract(receivertest.CheckConsumeContractParams{
		T: t, Signal: pipeline.SignalLogs, Config: config, GenerateCount: 100,
		Factory: receiver.NewFactory(metadata.Type, createDefaultConfig,
			receiver.WithLogs(createLogs, component.StabilityLevelAlpha)),
		Generator: &sender{t: t, url: "http://" + address + defaultPath},
	})
}

// sender sends reports, again if the response is 503.
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
		form := "id=" + id + "&" + receivertest.UniqueIDAttrName + "=" + id
		response, err := do(&s.client, newForm(s.t.Context(), s.url, form))
		if err != nil {
			s.t.Error(err)
			return nil
		}
		if response.status != http.StatusServiceUnavailable {
			return []receivertest.UniqueIDAttrVal{receivertest.UniqueIDAttrVal(id)}
		}
	}
}
