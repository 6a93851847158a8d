package sandbox_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

// BenchmarkChargeHandler is what the provider itself costs, without the network.
func BenchmarkChargeHandler(b *testing.B) {
	s := sandbox.NewServer(sandbox.ServerConfig{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if a := serve(s, "POST", "/v1/charges", chargeBody(strconv.Itoa(i), "tok_approved", true)); a.status != 201 {
			b.Fatalf("%d %s", a.status, a.body)
		}
	}
}

// BenchmarkChargeOverHTTP is a charge with client and server in one process, over loopback.
func BenchmarkChargeOverHTTP(b *testing.B) {
	bench := open(b, sandbox.ServerConfig{})
	p := adapter(b, bench.url, 0)
	var next atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := authorise(strconv.FormatInt(next.Add(1), 10), "tok_approved", true)
			if a := p.Send(b.Context(), r); a.Result != payments.ResultSucceeded {
				b.Errorf("%+v", a)
			}
		}
	})
}
