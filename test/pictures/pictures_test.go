package main

import (
	"encoding/json"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPictures draws both pictures from made-up answers, so that a panel which the dashboard has no more is noticed without a day being played.
func TestPictures(t *testing.T) {
	board, err := readDashboard("../../examples/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	day := &day{from: time.Unix(1_795_256_000, 0)}
	day.to = day.from.Add(8 * time.Minute)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
		if strings.Contains(query, "$") && !strings.Contains(query, "|$)") && !strings.Contains(query, `"$1"`) {
			t.Errorf("Grafana would have replaced a variable: %s", query)
		}
		labels := map[string]string{
			"email_failure_class": "permanent", "error_type": "mailbox_full", "email_tag": "receipts", "email_recipient_domain": "mail.example",
			"email_tags": `["receipts"]`, "outcome": "accepted",
		}
		var result any
		at := day.from.Unix()
		switch {
		case r.URL.Path == "/loki/api/v1/query_range" && strings.HasPrefix(query, "{"):
			result = []any{map[string]any{"stream": labels, "values": [][]string{{fmt.Sprint(day.from.UnixNano()), "452 4.2.2\nfull"}}}}
		case strings.HasSuffix(r.URL.Path, "/query_range"):
			result = []any{map[string]any{"metric": labels, "values": [][]any{{at, "1"}, {at + 60, "NaN"}, {at + 120, "2.5"}}}}
		default:
			result = []any{map[string]any{"metric": labels, "value": []any{at, "1234"}}}
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"result": result}}); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	day.prometheus, day.loki = server.URL, server.URL

	for name, draw := range map[string]func(*source) (*page, error){"overview": overview, "records": records} {
		t.Run(name, func(t *testing.T) {
			picture, err := draw(&source{board: board, day: day})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "images", "picture.png")
			if err := picture.save(path); err != nil {
				t.Fatal(err)
			}
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			size, err := png.DecodeConfig(file)
			if want := int(picture.width * resolution / 72); err != nil || size.Width != want {
				t.Errorf("it is %d wide, not %d (%v)", size.Width, want, err)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 999.6: "1 000", 12: "12", 1_234_567: "1 234 567"} {
		if got := number(value); got != strings.ReplaceAll(want, " ", "\u00a0") {
			t.Errorf("number(%g) = %q", value, got)
		}
	}
}
