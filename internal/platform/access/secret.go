package access

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"strings"
)

// A key is a prefix that says what it opens, 32 random characters (190 bits) and a checksum over both, so that a slip of
// the hand is told from a wrong key, and a scanner of secrets can be sure of what it has found.
const (
	prefixTest   = "ktr_test_"
	prefixLive   = "ktr_live_"
	randomLength = 32
	sumLength    = 6 // 62^6 is above 2^32
	secretLength = len(prefixTest) + randomLength + sumLength
	base62       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// newSecret makes a key as it is shown.
func newSecret(live bool) string {
	out := make([]byte, 0, secretLength)
	if live {
		out = append(out, prefixLive...)
	} else {
		out = append(out, prefixTest...)
	}
	var pool [64]byte
	for len(out) < len(prefixTest)+randomLength {
		_, _ = rand.Read(pool[:]) // never fails: it ends the process instead (crypto/rand)
		for _, b := range pool {
			// 248 is the largest multiple of 62 in a byte: above it, characters would not be equally likely.
			if b < 248 && len(out) < len(prefixTest)+randomLength {
				out = append(out, base62[b%62])
			}
		}
	}
	return string(appendSum(out, checksum(out)))
}

// checksum is crc32.ChecksumIEEE, which would put the key on the heap with every request.
func checksum(body []byte) uint32 {
	sum := ^uint32(0)
	for _, b := range body {
		sum = crc32.IEEETable[byte(sum)^b] ^ sum>>8
	}
	return ^sum
}

func appendSum(out []byte, sum uint32) []byte {
	digits := sumDigits(sum)
	return append(out, digits[:]...)
}

func sumDigits(sum uint32) [sumLength]byte {
	var digits [sumLength]byte
	for i := range digits {
		digits[sumLength-1-i] = base62[sum%62]
		sum /= 62
	}
	return digits
}

// hashOf is what is stored of a key; false when it cannot be one, which nobody has to be asked for.
func hashOf(key string) ([sha256.Size]byte, bool) {
	var none [sha256.Size]byte
	if len(key) != secretLength || !strings.HasPrefix(key, prefixTest) && !strings.HasPrefix(key, prefixLive) {
		return none, false
	}
	var raw [secretLength]byte
	copy(raw[:], key)
	body, sum := raw[:secretLength-sumLength], [sumLength]byte(raw[secretLength-sumLength:])
	for _, c := range body[len(prefixTest):] {
		if ('0' > c || c > '9') && ('A' > c || c > 'Z') && ('a' > c || c > 'z') {
			return none, false
		}
	}
	if sumDigits(checksum(body)) != sum {
		return none, false
	}
	return sha256.Sum256(raw[:]), true
}
