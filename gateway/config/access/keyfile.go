package access

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"

	"yatagarasu/gateway/config/file"
)

// readPublicKey returns the one public key in the file at path, nil after a mistake. It must
// fit algorithm, if that is not empty.
func readPublicKey(d *file.Decoder, n *file.Node, path, algorithm string) crypto.PublicKey {
	data, ok := d.ReadFile(n, path)
	if !ok {
		return nil
	}
	key, problem, fix := parsePublicKey(data)
	if problem == "" && algorithm != "" {
		if problem = KeyProblem(key, algorithm); problem != "" {
			problem, fix = "holds "+problem, "write the algorithm of the key, or name another file"
			if strings.HasSuffix(problem, "bits") {
				fix = "have a larger key made: " + rsaCommand
			}
		}
	}
	if problem != "" {
		d.Fail(n, d.ShowPath(n)+" "+problem, fix)
		return nil
	}
	return key
}

// rsaCommand makes an RSA key of a sufficient size.
const rsaCommand = "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072"

// parsePublicKey returns the one public key in data, or a problem and its fix.
func parsePublicKey(data []byte) (key crypto.PublicKey, problem, fix string) {
	const example = "name a PEM file with one public key or certificate"
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, "holds no PEM block", example
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, "holds more than one PEM block", "keep one in each file; public_key_file takes a list of files"
	}
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = c.PublicKey
		}
	default:
		if strings.Contains(block.Type, "PRIVATE") {
			return nil, "holds a private key, which does not belong on the gateway", "name a file with its public half: openssl pkey -in KEY -pubout"
		}
		return nil, "holds no public key", example
	}
	if err != nil {
		return nil, "holds a public key that cannot be read", "have it exported again: openssl pkey -in KEY -pubout"
	}
	return key, "", ""
}

// minRSABits is the least size of an RSA key (RFC 7518, 3.3).
const minRSABits = 2048

// KeyProblem says, as a noun phrase, why key cannot verify signatures of
// algorithm (RFC 7518, 3.1; RFC 8037, 3.1); "" if it can.
func KeyProblem(key crypto.PublicKey, algorithm string) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if !strings.HasPrefix(algorithm, "RS") && !strings.HasPrefix(algorithm, "PS") {
			return "an RSA key, which does not fit the algorithm"
		}
		if key.N.BitLen() < minRSABits {
			return "an RSA key of fewer than 2048 bits"
		}
	case *ecdsa.PublicKey:
		curves := map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
		if curves[algorithm] != key.Curve.Params().Name {
			return "an EC key on " + key.Curve.Params().Name + ", which does not fit the algorithm"
		}
	case ed25519.PublicKey:
		if algorithm != "EdDSA" {
			return "an Ed25519 key, which does not fit the algorithm"
		}
	default:
		return "a key of an unsupported type"
	}
	return ""
}

// checkJWKSFile checks that the file at path is a JSON object with keys. The verifier checks
// the keys themselves.
func checkJWKSFile(d *file.Decoder, n *file.Node, path string) {
	data, ok := d.ReadFile(n, path)
	if !ok {
		return
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(data, &set) != nil || len(set.Keys) == 0 {
		d.Fail(n, d.ShowPath(n)+" holds no JWK set", "name a JSON file of the form {\"keys\": [...]} with at least one key")
	}
}
