package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kontorhq/kontor/internal/app"
	"github.com/kontorhq/kontor/internal/app/mockapi"
)

// TestTheMockAPITellsWhatItSaw: the verb serves until it is stopped, and its last word is the summary.
func TestTheMockAPITellsWhatItSaw(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	var errOut bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		args := strings.Fields("mock-api --json --listen 127.0.0.1:0 --limit 1/1h --require-api-key Key:k --faults latency=1ms")
		ended <- app.Main(ctx, app.Process{Args: args, Out: write, Err: &errOut})
		_ = write.Close()
	}()
	told := json.NewDecoder(bufio.NewReader(read))
	var started struct {
		URL string `json:"url"`
	}
	if err := told.Decode(&started); err != nil {
		t.Fatalf("%v: %s", err, errOut.String())
	}
	for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, started.URL+"/orders", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Key", "k")
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Body.Close()
		if w.StatusCode != want {
			t.Errorf("request %d: %d", i, w.StatusCode)
		}
	}
	stop()
	var summary mockapi.Summary
	if err := told.Decode(&summary); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 0 || summary.Arrivals != 2 || summary.Refused != 1 || summary.Effects != 1 {
		t.Errorf("exit code %d: %+v\n%s", code, summary, errOut.String())
	}
}

func TestAWrongMockAPITellsAllThatIsWrong(t *testing.T) {
	t.Parallel()
	code, _, errOut := kontor(t, nil, strings.Fields(
		"mock-api --limit 5 --limit x/1s --faults foo,bar=1 --require-basic x --require-bearer y --algorithm leaky")...)
	for _, want := range []string{`--limit: malformed limit: "5"`, `"x/1s"`, `no profile "foo"`, `no fault "bar"`, "--require-basic", "one kind of credential"} {
		if !strings.Contains(errOut, want) {
			t.Errorf("no word of %s", want)
		}
	}
	if code != 2 {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	if code, _, errOut := kontor(t, nil, "mock-api", "--algorithm", "leaky", "--reset-style", "x"); code != 2 ||
		!strings.Contains(errOut, "leaky") || !strings.Contains(errOut, "X-RateLimit-Reset") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}
