package egress

import (
	"errors"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
)

func TestANameThatChangesItsMindIsCheckedWhereItLeads(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	u := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	loopback, public := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("93.184.216.34")
	resolver := names(t, func(v6 bool, nth int64) []netip.Addr {
		switch {
		case v6:
			return nil
		case nth == 1:
			return []netip.Addr{public}
		default:
			return []netip.Addr{loopback}
		}
	})
	// Whoever looks before calling is shown a public address,
	first, err := resolver.LookupNetIP(t.Context(), "ip4", "rebind.example.")
	if err != nil || len(first) != 1 || (Policy{}).Check(first[0]) != nil {
		t.Fatal(first, err)
	}
	// and the call itself would go to loopback.
	c := New(Config{Resolver: resolver})
	u.Host = "rebind.example.:" + u.Port()
	got := get(t, c, u)
	why, ok := errors.AsType[*ForbiddenError](got.Err)
	if got.Failure != FailureForbidden || got.Sent != SentNo || !ok || why.Address != loopback || reached.Load() != 0 {
		t.Fatalf("%+v, reached %d", got, reached.Load())
	}
	// The same name is reached by who may: the refusal was not for another reason.
	if got := get(t, inside(t, func(cfg *Config) { cfg.Resolver = resolver }), u); got.Status != 200 || reached.Load() != 1 {
		t.Fatalf("%+v, reached %d", got, reached.Load())
	}
}

func TestNoneOfSeveralAddressesGetsThrough(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	u := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	resolver := names(t, func(v6 bool, _ int64) []netip.Addr {
		if v6 {
			return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("64:ff9b::7f00:1")}
		}
		return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("0.0.0.0")}
	})
	u.Host = "many.example.:" + u.Port()
	if got := get(t, New(Config{Resolver: resolver}), u); got.Failure != FailureForbidden || reached.Load() != 0 {
		t.Fatalf("%+v, reached %d", got, reached.Load())
	}
}

func TestOddWaysToWriteLoopback(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	port := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) }).Port()
	c := New(Config{})
	for _, host := range []string{
		"127.0.0.1", "127.1", "0", "0.0.0.0", "localhost", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "[::1]", "[::]", "[::ffff:127.0.0.1]",
		"[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[::1%25lo]",
	} {
		got := get(t, c, parse(t, "http://"+host+":"+port+"/"))
		if got.Sent != SentNo || got.Err == nil || got.Failure != FailureForbidden && got.Failure != FailureResolve && got.Failure != FailureTimeout {
			t.Errorf("%s: %+v", host, got)
		}
	}
	if reached.Load() != 0 {
		t.Errorf("reached %d times", reached.Load())
	}
}

func TestConnectionsAreNotLentToOthers(t *testing.T) {
	t.Parallel()
	u := serve(t, func(http.ResponseWriter, *http.Request) {})
	if got := get(t, inside(t), u); got.Status != 200 { // its connection is kept
		t.Fatalf("%+v", got)
	}
	if got := get(t, New(Config{}), u); got.Failure != FailureForbidden || got.Sent != SentNo {
		t.Fatalf("%+v", got)
	}
}

func TestRedirectsAreAnswersAndProxiesAreNotAsked(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusTemporaryRedirect)
	})
	c := inside(t)
	if got := get(t, c, u); got.Status != http.StatusTemporaryRedirect || got.Failure != "" || reached.Load() != 1 {
		t.Fatalf("%+v, reached %d", got, reached.Load())
	}
	if c.transport.Proxy != nil {
		t.Fatal("a proxy is asked for")
	}
}
