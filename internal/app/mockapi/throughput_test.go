package mockapi_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kontorhq/kontor/internal/app/mockapi"
)

// BenchmarkHandler is what the API itself costs, without the network, under two limits.
func BenchmarkHandler(b *testing.B) {
	s, err := mockapi.New(mockapi.Config{Limits: limits(b, "1000000/1s", "header:X-Tenant=1000000/1s")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := httptest.NewRequest("POST", "/orders", strings.NewReader(`{"amount":1000}`))
		r.Header.Set("Idempotency-Key", strconv.Itoa(i))
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}

// BenchmarkOverHTTP is a request with client and server in one process, over loopback.
func BenchmarkOverHTTP(b *testing.B) {
	s := open(b, mockapi.Config{Limits: limits(b, "1000000/1s", "header:X-Tenant=1000000/1s")})
	client := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	var next atomic.Int64
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, _ := http.NewRequestWithContext(s.ctx, "POST", s.URL()+"/orders", strings.NewReader(`{"amount":1000}`))
			r.Header.Set("Idempotency-Key", strconv.FormatInt(next.Add(1), 10))
			w, err := client.Do(r)
			if err != nil || w.StatusCode != http.StatusOK {
				b.Errorf("%v %v", w, err)
				return
			}
			_ = w.Body.Close()
		}
	})
}
