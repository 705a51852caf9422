package webhook

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTime(t *testing.T) {
	base := utc(2026, 11, 21, 10, 14, 58)
	none := time.Time{}
	for _, tc := range []struct {
		time, timestamp string
		want            time.Time
		anomalies       []string
	}{
		{time: "1795256098", want: base},
		{time: " 1795256098 ", want: base},
		{time: "1795256098.0", want: base},
		{time: "1.795256098e9", want: base},
		{time: "1795256098.25", want: base.Add(250 * time.Millisecond)},
		{time: "1795256098.123456", want: base.Add(123456 * time.Microsecond)},
		{time: "1795256098.123456789", want: base.Add(123457 * time.Microsecond)},
		{time: "2026-11-21 10:14:58", want: base},
		{time: "2026-11-21T10:14:58Z", timestamp: "2001-01-01 00:00:00", want: base},
		{timestamp: "1795256098", want: base},
		{timestamp: "2026-11-21t10:14:58z", want: base},
		{timestamp: "2026-11-21 10:14:58.5", want: base.Add(time.Second / 2)},
		{timestamp: "2026-11-21 10:14:58,5", want: base.Add(time.Second / 2)},
		{timestamp: "2026-11-21T10:14:58.000001+00:00", want: base.Add(time.Microsecond)},
		{timestamp: "2026-11-21 11:14:58+01:00", want: base},
		{timestamp: "2026-11-21 11:14:58 +01:00", want: base},
		{timestamp: "2026-11-21 11:14:58 +0100", want: base},
		{timestamp: "2026-11-21T11:14:58+01", want: base},
		{timestamp: "2026-11-21 06:14:58-04:00", want: base},
		{timestamp: "2026-11-21 10:14:58 UTC", want: base},
		{timestamp: "2026-11-21 10:14:58 GMT", want: base},
		{timestamp: "2026-11-21  10:14:58", want: base},
		{timestamp: "2026-11-21 9:14:58", want: base.Add(-time.Hour)},

		// The clock of a sender may be a little ahead.
		{time: "1795256700", want: arrived.Add(MaxAhead)},
		{time: "1795256700.5", want: none, anomalies: []string{"time"}},
		{time: "4102444800", timestamp: "2026-11-21 10:14:58", want: none, anomalies: []string{"time"}},
		{timestamp: "2026-11-21 11:14:58", want: none, anomalies: []string{"timestamp"}},
		{timestamp: "2026-11-21 10:14:58-01:00", want: none, anomalies: []string{"timestamp"}},
		{time: "1795256098", timestamp: "2026-11-21 11:14:58", want: base},
		{time: "soon", timestamp: "2026-11-21 11:14:58", want: none, anomalies: []string{"time", "timestamp"}},
		{want: none},
	} {
		e := mustForm(t, url.Values{"id": {"1"}, "time": {tc.time}, "timestamp": {tc.timestamp}}.Encode())
		if !e.Time.Equal(orArrived(tc.want)) || !cmp.Equal(e.Anomalies, tc.anomalies) {
			t.Errorf("time %q, timestamp %q: %v %v, want %v %v", tc.time, tc.timestamp, e.Time, e.Anomalies, orArrived(tc.want), tc.anomalies)
		}
		if len(e.Variables) != len(tc.anomalies) {
			t.Errorf("time %q, timestamp %q: kept %v", tc.time, tc.timestamp, e.Variables)
		}
	}
}
