package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
)

// Auth is who may look: names with passwords, and tokens. Only their hashes are held.
type Auth struct {
	users, tokens [][sha256.Size]byte

	// Warnings are what should be better about the file, a line each for the operator. They quote none of it.
	Warnings []string
}

// leastSecret is how many bytes a password or token has that is not soon guessed.
const leastSecret = 12

// ReadAuth reads a file with a line for each who may look: name:password (HTTP basic authentication), or a token (Authorization:
// Bearer; a browser takes it as the password of any name). Empty lines and those that begin with # do not count.
func ReadAuth(path string) (*Auth, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		// Not the path: it may be the secret itself, given where its file was meant.
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return nil, fmt.Errorf("read the file of who may look: %w", err)
	}
	var a Auth
	warn := func(format string, args ...any) {
		a.Warnings = append(a.Warnings, path+": "+fmt.Sprintf(format, args...))
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o027 != 0 {
		warn("its mode is %#o, so that others may read it or write to it: chmod 600, or 640 for a group that is only ours", info.Mode().Perm())
	}
	secret := func(n int, text string) {
		if len(text) < leastSecret {
			warn("line %d: its secret has fewer than %d characters and is soon guessed: openssl rand -hex 24 makes one", n+1, leastSecret)
		}
	}
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimRight(line, "\r")
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		case strings.HasSuffix(line, ":") && strings.Count(line, ":") == 1: // forgotten, or a variable that was empty: it would let everybody in
			return nil, fmt.Errorf("%s: line %d: a name without a password", path, n+1)
		case strings.Contains(line, ":"):
			_, password, _ := strings.Cut(line, ":")
			secret(n, password)
			a.users = append(a.users, sha256.Sum256([]byte(line)))
		default:
			token := strings.TrimSpace(line)
			secret(n, token)
			a.tokens = append(a.tokens, sha256.Sum256([]byte(token)))
		}
	}
	if len(a.users)+len(a.tokens) == 0 {
		return nil, fmt.Errorf("%s: has neither name:password nor a token", path)
	}
	return &a, nil
}

// admits takes the same time whoever asks and whatever is wrong.
func (a *Auth) admits(r *http.Request) bool {
	ok := 0
	compare := func(list [][sha256.Size]byte, text string) {
		sum := sha256.Sum256([]byte(text))
		for i := range list {
			ok |= subtle.ConstantTimeCompare(list[i][:], sum[:])
		}
	}
	if name, password, basic := r.BasicAuth(); basic {
		compare(a.users, name+":"+password)
		compare(a.tokens, password)
	} else if scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " "); found && strings.EqualFold(scheme, "Bearer") {
		compare(a.tokens, strings.TrimSpace(token))
	}
	return ok == 1
}

// open are the addresses that a watchdog asks, which has no password.
func open(path string) bool { return path == "/livez" || path == "/readyz" || path == "/healthz" }

// ask says that it wants to know who is there.
func (a *Auth) ask(w http.ResponseWriter) {
	secure(w.Header())
	w.Header().Set("WWW-Authenticate", `Basic realm="firstclick", charset="UTF-8"`)
	http.Error(w, "who are you?", http.StatusUnauthorized)
}
