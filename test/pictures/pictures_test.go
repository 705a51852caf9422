package main

import (
	"encoding/json"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The picture is drawn from made-up answers, so that a panel which is no longer in the dashboard is
// noticed without a day being played.
func TestDraw(t *testing.T) {
	board, err := readDashboard("../../examples/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	d := &day{board: board, length: 8 * time.Minute, start: time.Unix(1_795_256_000, 0)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := d.start.Unix()
		result := map[string]any{"metric": map[string]string{"error_type": "mailbox_full"}, "value": []any{at, "1234"}}
		if strings.HasSuffix(r.URL.Path, "/query_range") {
			delete(result, "value")
			result["values"] = [][]any{{at, "1"}, {at + 120, "2.5"}}
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"result": []any{result}}}); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	d.prometheus, d.loki = server.URL, server.URL

	path := filepath.Join(t.TempDir(), "picture.png")
	if err := d.draw(path); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if size, err := png.DecodeConfig(file); err != nil || size.Width < width {
		t.Errorf("it is %d wide (%v)", size.Width, err)
	}
}
