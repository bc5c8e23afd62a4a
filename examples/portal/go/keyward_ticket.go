// Mints tickets for Keyward, which lets a portal's people into the applications behind it. Copy this file into
// the portal, under the name of its own package; it needs Go 1.18 and nothing else.
package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Claims says whose session it is. Times are Unix seconds; what there is none of is left empty.
type Claims struct {
	Sid   string   `json:"sid"`
	Sub   string   `json:"sub"`
	Iat   int64    `json:"iat"`
	Exp   int64    `json:"exp"`
	Roles []string `json:"roles,omitempty"`
	Name  string   `json:"name,omitempty"`
	Email string   `json:"email,omitempty"`
}

var (
	keyIDs   = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,64}\z`)
	controls = regexp.MustCompile(`[\x00-\x1f\x7f-\x{9f}\x{2028}\x{2029}]`)
	edges    = regexp.MustCompile(`\A` + blank + `|` + blank + `\z`)
)

const blank = `[ \x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]`

// NewSessionID makes a name for a session, which nobody can guess. Every sign-in gets one of its own.
func NewSessionID() (string, error) {
	id := make([]byte, 16)
	_, err := rand.Read(id)
	return hex.EncodeToString(id), err
}

// MintTicket makes the ticket that the browser brings from now on, as the value of the portal's cookie.
//
// The secret is the one of the portal's [[portal.key]] with the id keyID, as it is written there: text,
// base64:… or hex:…. The password is sealed into the ticket; leave it empty where the applications want none.
// What Keyward would not accept is an error.
func MintTicket(keyID, secret string, claims Claims, password string) (string, error) {
	if err := checkClaims(keyID, claims); err != nil {
		return "", err
	}
	material, err := keyMaterial(secret)
	if err != nil {
		return "", err
	}
	ticket := struct {
		Claims
		Cred string `json:"cred,omitempty"`
	}{Claims: claims}
	if password != "" {
		if ticket.Cred, err = seal(material, claims.Sid, password); err != nil {
			return "", err
		}
	}
	var payload bytes.Buffer
	encoder := json.NewEncoder(&payload)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(ticket); err != nil {
		return "", err
	}
	signed := "kw1." + keyID + "." + base64.RawURLEncoding.EncodeToString(bytes.TrimSpace(payload.Bytes()))
	mac := sum(derive(material, "keyward ticket mac v1"), []byte(signed))
	minted := signed + "." + base64.RawURLEncoding.EncodeToString(mac)
	if err := check(len(minted) <= 8192, "the ticket is longer than 8 KiB"); err != nil {
		return "", err
	}
	return minted, nil
}

func checkClaims(keyID string, claims Claims) error {
	length := utf8.RuneCountInString(claims.Sid)
	checks := []error{
		check(keyIDs.MatchString(keyID), "the key id has other characters than A-Z a-z 0-9 - _"),
		check(16 <= length && length <= 128, "sid must have 16 to 128 characters"),
		checkText("sid", claims.Sid),
		check(claims.Sub != "", "sub is empty"),
		checkText("sub", claims.Sub),
		checkEdges("sub", claims.Sub),
		checkText("name", claims.Name),
		checkText("email", claims.Email),
		checkEdges("email", claims.Email),
		check(len(claims.Roles) <= 256, "there are more than 256 roles"),
		check(0 <= claims.Iat && claims.Iat < claims.Exp, "exp must be later than iat"),
	}
	for _, role := range claims.Roles {
		checks = append(checks,
			check(role != "" && !strings.Contains(role, ","), "a role is empty or holds a comma"),
			checkText("a role", role),
			checkEdges("a role", role))
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

// seal hides the password from everybody but Keyward, and for this session alone.
func seal(material []byte, sid, password string) (string, error) {
	if err := check(utf8.ValidString(password), "the password is no UTF-8"); err != nil {
		return "", err
	}
	block, err := aes.NewCipher(derive(material, "keyward ticket seal v1"))
	if err != nil {
		return "", err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, []byte(password), []byte(sid))), nil
}

// derive is HKDF-SHA256 (RFC 5869) without salt, for 32 bytes, which is one round of it.
func derive(material []byte, purpose string) []byte {
	return sum(sum(make([]byte, 32), material), []byte(purpose+"\x01"))
}

func sum(key, text []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return mac.Sum(nil)
}

func keyMaterial(secret string) ([]byte, error) {
	material, err := []byte(secret), error(nil)
	if text, is := cutPrefix(secret, "base64:"); is {
		material, err = base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	} else if text, is := cutPrefix(secret, "hex:"); is {
		material, err = hex.DecodeString(strings.TrimSpace(text))
	}
	if err != nil {
		// Without the cause, which would show it.
		return nil, errors.New("the secret is not what its prefix says")
	}
	return material, check(len(material) >= 32, "the secret must be at least 32 bytes long")
}

func cutPrefix(text, prefix string) (string, bool) {
	return strings.TrimPrefix(text, prefix), strings.HasPrefix(text, prefix)
}

func checkText(what, text string) error {
	if !utf8.ValidString(text) {
		return errors.New(what + " is no UTF-8")
	}
	if len(text) > 512 {
		return errors.New(what + " is longer than 512 bytes")
	}
	return check(!controls.MatchString(text), what+" holds a control character")
}

func checkEdges(what, text string) error {
	return check(!edges.MatchString(text), what+" begins or ends with a blank")
}

func check(fine bool, otherwise string) error {
	if fine {
		return nil
	}
	return errors.New(otherwise)
}
