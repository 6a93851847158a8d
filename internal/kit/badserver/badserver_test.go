package badserver_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/badserver"
)

func TestDelaysEndWithWhatTheyWaitFor(t *testing.T) {
	t.Parallel()
	running, stopped := make(chan struct{}), make(chan struct{})
	close(stopped)
	gone, leave := context.WithCancel(t.Context())
	leave()
	if !badserver.Pause(running, time.Millisecond) || !badserver.Pause(stopped, 0) {
		t.Error("a pause that passed says that the server stopped")
	}
	if badserver.Pause(stopped, time.Hour) {
		t.Error("a pause outlasts the server")
	}
	badserver.Linger(gone, running, time.Hour)
	badserver.Linger(t.Context(), stopped, time.Hour)
	badserver.Linger(t.Context(), running, time.Millisecond)
}

func TestAResetIsNoOrderlyEnd(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { badserver.Reset(w) }))
	t.Cleanup(server.Close)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(request)
	if err == nil {
		_ = answer.Body.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v", err)
	}
}

// TestChanceDependsOnAllThatItIsDrawnFrom, and on nothing else.
func TestChanceDependsOnAllThatItIsDrawnFrom(t *testing.T) {
	t.Parallel()
	first := badserver.Draw(1, "a", 1)
	if badserver.Draw(1, "a", 1) != first {
		t.Error("the same chance twice is not the same")
	}
	for _, other := range []badserver.Chance{badserver.Draw(2, "a", 1), badserver.Draw(1, "b", 1), badserver.Draw(1, "a", 2)} {
		if other == first {
			t.Error("two chances are one")
		}
	}
}

func TestChanceIsEvenlySpread(t *testing.T) {
	t.Parallel()
	const draws = 20_000
	sum, most := 0.0, time.Duration(0)
	for i := range uint64(draws) {
		c := badserver.Draw(1, "x", i)
		share := c.Share()
		if share < 0 || share >= 1 {
			t.Fatalf("a share of %v", share)
		}
		sum += share
		most = max(most, c.UpTo(time.Second))
	}
	if mean := sum / draws; math.Abs(mean-0.5) > 0.02 {
		t.Errorf("the mean is %v", mean)
	}
	if most < 990*time.Millisecond || most > time.Second {
		t.Errorf("the longest is %v", most)
	}
	c := badserver.Draw(1, "x", 1)
	if c.UpTo(0) != 0 || c.UpTo(-1) != 0 {
		t.Error("something of nothing")
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	const bad = "bad"
	wrong := errors.New("wrong value")
	read := func(text string) ([]string, error) {
		named := func(name string) ([]string, bool) { return []string{name}, name != bad }
		set := func(p *[]string, name, value string) error {
			if value == bad {
				return wrong
			}
			*p = append(*p, name, value)
			return nil
		}
		check := func(p *[]string) error {
			if len(*p) > 5 {
				return wrong
			}
			return nil
		}
		return badserver.Read(text, named, set, check)
	}
	for text, want := range map[string][]string{
		"":                            {""},
		"light":                       {"light"},
		"light, seed = 7,latency=1ms": {"light", "seed", "7", "latency", "1ms"},
		"seed=7":                      {"", "seed", "7"},
		"none,a=b=c,=":                {"none", "a", "b=c", "", ""},
	} {
		if got, err := read(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, mistakes := range map[string]int{"bad": 1, "bad,,slow,a=bad": 4, "light,a=1,b=2,c=3": 1} {
		got, err := read(text)
		if got != nil || err == nil || strings.Count(err.Error(), "\n")+1 != mistakes {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := read("bad,slow"); !errors.Is(err, badserver.ErrProfile) {
		t.Error(err)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"light,seed=7 \n":                        "light,seed=7",
		`"light,seed=7"`:                         "light,seed=7",
		` {"seed":7,"profile":"light","a":"1%"}`: "light,a=1%,seed=7",
		`{}`:                                     "",
		`{"profile":"heavy,seed=2","slow":false}`: "heavy,seed=2,slow=false",
	} {
		if got, err := badserver.Text([]byte(body)); err != nil || got != want {
			t.Errorf("%s is %q: %v", body, got, err)
		}
	}
	for _, body := range []string{`{"seed":7`, `"light`} {
		if got, err := badserver.Text([]byte(body)); !errors.Is(err, badserver.ErrProfile) {
			t.Errorf("%s is taken as %q: %v", body, got, err)
		}
	}
}
