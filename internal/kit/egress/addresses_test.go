package egress

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestEveryRangeIsRefusedFromItsFirstAddressToItsLast(t *testing.T) {
	t.Parallel()
	for _, r := range special {
		for _, addr := range []netip.Addr{r.prefix.Addr(), last(r.prefix), within(r.prefix)} {
			forms := []netip.Addr{addr}
			if addr.Is4() {
				forms = append(forms, netip.AddrFrom16(addr.As16())) // ::ffff:a.b.c.d
			} else {
				forms = append(forms, addr.WithZone("eth0"))
			}
			for _, form := range forms {
				refused(t, Policy{}, form)
			}
		}
		for _, addr := range []netip.Addr{r.prefix.Addr().Prev(), last(r.prefix).Next()} {
			if addr.IsValid() && kindOf(addr) == "" && (Policy{}).Check(addr) != nil {
				t.Errorf("%s, beside %s, is refused", addr, r.prefix)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	private := Policy{AllowPrivateNetworks: true}
	for _, c := range []struct {
		addr                string
		publicly, inPrivate bool
	}{
		{"93.184.216.34", true, true},
		{"1.1.1.1", true, true},
		{"172.15.255.255", true, true},
		{"172.32.0.0", true, true},
		{"100.63.255.255", true, true},
		{"100.128.0.0", true, true},
		{"198.17.255.255", true, true},
		{"223.255.255.255", true, true},
		{"2606:4700:4700::1111", true, true},
		{"2a00::1", true, true},
		{"::ffff:93.184.216.34", true, true},

		{"127.0.0.1", false, true},
		{"127.255.255.254", false, true},
		{"::1", false, true},
		{"::ffff:127.0.0.1", false, true},
		{"10.1.2.3", false, true},
		{"172.16.0.1", false, true},
		{"192.168.1.1", false, true},
		{"100.64.0.1", false, true},
		{"fd12:3456::1", false, true},
		{"::ffff:10.0.0.1", false, true},

		{"0.0.0.0", false, false},
		{"::", false, false},
		{"255.255.255.255", false, false},
		{"224.0.0.1", false, false},
		{"ff02::1", false, false},
		{"169.254.1.1", false, false},
		{"fe80::1", false, false},
		{"192.0.0.9", false, false},
		{"192.0.2.1", false, false},
		{"198.18.0.1", false, false},
		{"198.19.255.255", false, false},
		{"2001:db8::1", false, false},
		{"64:ff9b::5db8:d822", false, false},
		{"2002:5db8:d822::1", false, false},
		{"2001:0:4136:e378::1", false, false},
		{"::5db8:d822", false, false},
		{"4000::1", false, false},
		{"fec0::1", false, false},

		{"169.254.169.254", false, false},
		{"::ffff:169.254.169.254", false, false},
		{"64:ff9b::a9fe:a9fe", false, false},
		{"fd00:ec2::254", false, false},
		{"fd20:ce::254", false, false},
		{"100.100.100.200", false, false},
		{"168.63.129.16", false, false},
	} {
		addr := netip.MustParseAddr(c.addr)
		if got := (Policy{}).Check(addr) == nil; got != c.publicly {
			t.Errorf("%s: allowed %v", addr, got)
		}
		if got := private.Check(addr) == nil; got != c.inPrivate {
			t.Errorf("%s: allowed %v where private networks are", addr, got)
		}
	}
	refused(t, private, netip.Addr{})
}

func TestCIDRsOpenWhatTheyName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cidr, addr string
		want       bool
	}{
		{"10.2.0.0/16", "10.2.3.4", true},
		{"10.2.3.4/16", "10.2.200.1", true},
		{"10.2.0.0/16", "10.3.0.1", false},
		{"::ffff:10.2.0.0/112", "10.2.3.4", true},
		{"10.2.0.0/16", "::ffff:10.2.3.4", true},
		{"64:ff9b::/96", "64:ff9b::5db8:d822", true},
		{"64:ff9b::/96", "64:ff9b::a9fe:a9fe", false},
		{"169.254.0.0/16", "169.254.1.1", true},
		{"169.254.0.0/16", "169.254.169.254", false},
		{"169.254.169.254/32", "169.254.169.254", true},
		{"0.0.0.0/0", "169.254.169.254", false},
		{"0.0.0.0/0", "127.0.0.1", true},
		{"0.0.0.0/0", "::1", false},
		{"fd00:ec2::/32", "fd00:ec2::254", false},
		{"fd00:ec2::254/128", "fd00:ec2::254", true},
	} {
		p := Policy{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix(c.cidr)}}
		if got := p.Check(netip.MustParseAddr(c.addr)) == nil; got != c.want {
			t.Errorf("%s with %s: allowed %v", c.addr, c.cidr, got)
		}
	}
}

// The standard library's own notion of special addresses is narrower: whatever it names must be refused.
func TestNothingSpecialGetsThrough(t *testing.T) {
	t.Parallel()
	for range 200_000 {
		var raw [16]byte
		for i := range raw {
			raw[i] = byte(rand.Uint32())
		}
		for _, addr := range []netip.Addr{netip.AddrFrom16(raw), netip.AddrFrom4([4]byte(raw[:4])), within(special[rand.IntN(len(special))].prefix)} {
			if narrow(addr) && (Policy{}).Check(addr) == nil {
				t.Fatalf("%s is allowed", addr)
			}
		}
	}
}

func narrow(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsMulticast() || a.IsUnspecified() || a.IsLinkLocalUnicast() || !a.IsGlobalUnicast()
}

func refused(t *testing.T, p Policy, addr netip.Addr) {
	t.Helper()
	err := p.Check(addr)
	if why, ok := errors.AsType[*ForbiddenError](err); !ok || why.Kind == "" || why.Error() == "" {
		t.Errorf("%s: %v", addr, err)
	}
}

func last(p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}

// within is any address of the prefix.
func within(p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		if rand.IntN(2) == 1 {
			raw[bit/8] |= 0x80 >> (bit % 8)
		}
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}

func FuzzWhatIsDialled(f *testing.F) {
	for _, seed := range []string{"127.0.0.1:80", "[::1]:443", "[fe80::1%eth0]:80", "[::ffff:10.0.0.1]:80", "localhost:80", ":80", "1.1.1.1", "0x7f.1:80", "2130706433:80", ""} {
		f.Add("tcp4", seed)
		f.Add("tcp6", seed)
	}
	f.Add("udp4", "1.1.1.1:53")
	f.Add("unix", "/var/run/docker.sock")
	f.Fuzz(func(t *testing.T, network, address string) {
		if err := (Policy{}).checkDial(network, address); err != nil {
			return
		}
		to, err := netip.ParseAddrPort(address)
		if err != nil || narrow(to.Addr().Unmap()) || network != "tcp4" && network != "tcp6" {
			t.Fatalf("%s %q is dialled", network, address)
		}
	})
}
