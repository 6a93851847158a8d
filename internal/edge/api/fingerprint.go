package api

import "crypto/sha256"

// fingerprint names a request by what it asks for: its method, its path and its canonical body. Two requests under
// one idempotency key must have the same. Headers are left out: they change how an answer is given, not what is done.
func fingerprint(method, path string, canonical []byte) [32]byte {
	text := make([]byte, 0, len(method)+len(path)+len(canonical)+2)
	text = append(text, method...)
	text = append(text, '\n')
	text = append(text, path...)
	text = append(text, '\n')
	text = append(text, canonical...)
	return sha256.Sum256(text)
}
