package enrolment_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/enrolment"
)

const tokenID = "0195c1f0-5f7e-4c3a-9d2b-7a1e4c5d6f70"

// golden is a token as it was made once: one that is out there must be read for ever.
const golden = "kgj1." + tokenID + ".AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8.__________________________________________8"

func textOf(token enrolment.Token) (text string) {
	token.Text().Reveal(func(data []byte) { text = string(data) })
	return text
}

func TestGoldenToken(t *testing.T) {
	t.Parallel()
	token, err := enrolment.ParseToken(golden)
	if err != nil {
		t.Fatal(err)
	}
	const sum = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd" // SHA-256 of 00 01 … 1f
	if token.Hash() != sum || token.ID != tokenID || token.Root[0] != 0xff || textOf(token) != golden {
		t.Errorf("%s: hash %s, root %v", token.ID, token.Hash(), token.Root)
	}
}

func TestTokensAreReadBack(t *testing.T) {
	t.Parallel()
	token, err := enrolment.NewToken(tokenID, enrolment.Pin{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	again, err := enrolment.ParseToken(textOf(token))
	if err != nil || again.Hash() != token.Hash() || again.Root != token.Root || again.ID != tokenID {
		t.Errorf("read back as %v, %v", again, err)
	}
	other, err := enrolment.NewToken(tokenID, enrolment.Pin{})
	if err != nil || other.Hash() == token.Hash() {
		t.Errorf("two tokens have one secret, %v", err)
	}
	text := textOf(token)
	shown := fmt.Sprintf("%v %+v %#v %s", token, token, token, &token)
	if strings.Contains(shown, strings.Split(text, ".")[2]) || !strings.Contains(shown, tokenID) {
		t.Errorf("a printer shows %s", shown)
	}
	for _, id := range []string{"", "x", strings.ToUpper(tokenID), tokenID + "0", strings.ReplaceAll(tokenID, "-", "0")} {
		if _, err := enrolment.NewToken(id, enrolment.Pin{}); err == nil {
			t.Errorf("a token with the id %q", id)
		}
	}
}

func TestParseTokenRefuses(t *testing.T) {
	t.Parallel()
	parts := strings.Split(golden, ".")
	with := func(at int, part string) string {
		changed := append([]string(nil), parts...)
		changed[at] = part
		return strings.Join(changed, ".")
	}
	for name, test := range map[string]struct{ text, want string }{
		"nothing":              {"", "no join token"},
		"an API key":           {"abc", "no join token"},
		"of a later version":   {with(0, "kgj2"), "later version"},
		"cut":                  {strings.Join(parts[:3], "."), "this one has 3"},
		"too much":             {golden + ".x", "this one has 5"},
		"a cut end":            {golden[:len(golden)-1], "last part"},
		"a longer end":         {golden + "A", "last part"},
		"padding":              {golden + "=", "last part"},
		"another spelling":     {with(3, parts[3][:42]+"9"), "last part"},
		"another spelling too": {with(2, parts[2][:42]+"9"), "third part"},
		"plain base64":         {with(2, strings.Repeat("+", 43)), "third part"},
		"a line within":        {with(2, parts[2][:20]+"\n"+parts[2][20:]), "third part"},
		"no id":                {with(1, ""), "second part"},
		"an id in capitals":    {with(1, strings.ToUpper(tokenID)), "second part"},
		"space around it":      {" " + golden, "no join token"},
	} {
		token, err := enrolment.ParseToken(test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v; want %q", name, token, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), parts[2]) {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(golden)
	f.Add("kgj1...")
	f.Add("kgj2.a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := enrolment.ParseToken(text)
		if err == nil && textOf(token) != text {
			t.Errorf("%q is read as %q", text, textOf(token))
		}
	})
}
