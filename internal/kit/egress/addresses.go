package egress

import (
	"fmt"
	"net/netip"
	"slices"
)

// Policy says which addresses may be reached. Its zero value allows the public internet alone.
type Policy struct {
	AllowPrivateNetworks bool           // also loopback, private, shared (100.64/10) and unique local addresses
	AllowCIDRs           []netip.Prefix // and whatever is in one of these
}

// ForbiddenError says that an address may not be reached.
type ForbiddenError struct {
	Address netip.Addr
	Kind    string // such as "loopback"
}

func (e *ForbiddenError) Error() string {
	if !e.Address.IsValid() {
		return "may not be reached: " + e.Kind
	}
	return fmt.Sprintf("%s may not be reached: %s", e.Address, e.Kind)
}

// The kinds that AllowPrivateNetworks opens.
const (
	kindLoopback    = "loopback"
	kindPrivate     = "private network"
	kindShared      = "shared address space"
	kindUniqueLocal = "unique local"
)

const (
	kindMetadata = "a cloud's metadata service"
	kindOther    = "not global unicast"
)

type addressRange struct {
	prefix netip.Prefix
	kind   string
}

// special are the ranges that are no part of the public internet, after IANA's registries of special-purpose addresses
// (RFC 6890). Of IPv6 only 2000::/3 is global unicast; ranges outside it are listed to be called by their names.
var special = []addressRange{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), kindPrivate},
	{netip.MustParsePrefix("100.64.0.0/10"), kindShared},
	{netip.MustParsePrefix("127.0.0.0/8"), kindLoopback},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), kindPrivate},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation"},
	{netip.MustParsePrefix("192.31.196.0/24"), "AS112"},
	{netip.MustParsePrefix("192.52.193.0/24"), "AMT"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay"},
	{netip.MustParsePrefix("192.168.0.0/16"), kindPrivate},
	{netip.MustParsePrefix("192.175.48.0/24"), "AS112"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},

	{netip.MustParsePrefix("::1/128"), kindLoopback},
	{netip.MustParsePrefix("::/96"), "unspecified or IPv4-compatible"},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "NAT64"},
	{netip.MustParsePrefix("100::/64"), "discard"},
	{netip.MustParsePrefix("100:0:0:1::/64"), "discard"},
	{netip.MustParsePrefix("2001::/32"), "Teredo"},
	{netip.MustParsePrefix("2001::/23"), "protocol assignments"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation"},
	{netip.MustParsePrefix("2002::/16"), "6to4"},
	{netip.MustParsePrefix("2620:4f:8000::/48"), "AS112"},
	{netip.MustParsePrefix("3fff::/20"), "documentation"},
	{netip.MustParsePrefix("5f00::/16"), "segment routing"},
	{netip.MustParsePrefix("fc00::/7"), kindUniqueLocal},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// metadata are addresses that hand out a machine's credentials to whoever asks from it. Several lie in ranges that
// AllowPrivateNetworks opens, and one looks public.
var metadata = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), // most clouds
	netip.MustParseAddr("169.254.170.2"),   // containers at AWS
	netip.MustParseAddr("169.254.170.23"),
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd00:ec2::23"),
	netip.MustParseAddr("fd20:ce::254"), // Google
}

// Check returns a *ForbiddenError for an address that may not be reached. A metadata address is only reached when a CIDR
// names it alone: a wide one, or AllowPrivateNetworks, does not open it.
func (p Policy) Check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return &ForbiddenError{Kind: "no address"}
	}
	inner := embedded(addr)
	alone := netip.PrefixFrom(addr, addr.BitLen())
	if slices.Contains(metadata, addr) || slices.Contains(metadata, inner) {
		if slices.ContainsFunc(p.AllowCIDRs, func(c netip.Prefix) bool { return unmapped(c) == alone }) {
			return nil
		}
		return &ForbiddenError{Address: addr, Kind: kindMetadata}
	}
	kind := kindOf(addr)
	switch kind {
	case "":
		return nil
	case kindLoopback, kindPrivate, kindShared, kindUniqueLocal:
		if p.AllowPrivateNetworks {
			return nil
		}
	}
	if slices.ContainsFunc(p.AllowCIDRs, func(c netip.Prefix) bool { return unmapped(c).Contains(addr) }) {
		return nil
	}
	return &ForbiddenError{Address: addr, Kind: kind}
}

// kindOf names the range of an address that is not on the public internet; else it is empty.
func kindOf(addr netip.Addr) string {
	for _, r := range special {
		if r.prefix.Contains(addr) {
			return r.kind
		}
	}
	if addr.Is6() && !netip.MustParsePrefix("2000::/3").Contains(addr) {
		return kindOther
	}
	return ""
}

// embedded is the IPv4 address that a translating or tunnelling IPv6 address leads to, where it has one.
func embedded(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return netip.Addr{}
	}
	raw := addr.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr), netip.MustParsePrefix("::/96").Contains(addr):
		return netip.AddrFrom4([4]byte(raw[12:16]))
	case netip.MustParsePrefix("2002::/16").Contains(addr):
		return netip.AddrFrom4([4]byte(raw[2:6]))
	}
	return netip.Addr{}
}

// unmapped turns a prefix of IPv4-mapped addresses into one of IPv4 addresses, and drops the bits after its length.
func unmapped(c netip.Prefix) netip.Prefix {
	if c.Addr().Is4In6() && c.Bits() >= 96 {
		c = netip.PrefixFrom(c.Addr().Unmap(), c.Bits()-96)
	}
	return c.Masked()
}
