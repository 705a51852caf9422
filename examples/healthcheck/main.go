// Command healthcheck asks the collector's health_check extension whether it is well, and exits
// with 0 if it is and with 1 if not. It is the health check of the container image, which has no
// shell and no curl.
//
//	healthcheck [URL]
package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"time"
)

const (
	defaultURL = "http://127.0.0.1:13133/"
	timeout    = 4 * time.Second // a second less than Docker waits
)

func main() {
	url := defaultURL
	if len(os.Args) > 1 {
		url = cmp.Or(os.Args[1], url)
	}
	if err := ask(context.Background(), url); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// ask returns an error unless the response is 200.
func ask(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody) //nolint:gosec // whoever runs it says what is asked
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request) //nolint:gosec // as above
	if err != nil {
		return err
	}
	_ = response.Body.Close() // the status says it all
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}
