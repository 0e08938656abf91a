package settings

// Names and OtherPlane let the external tests hold the literal list to the planes' declarations.

func Names(into any) (names []string, err error) {
	fields, err := fieldsOf(into)
	for _, f := range fields {
		names = append(names, f.names()...)
	}
	return names, err
}

func OtherPlane() []string { return otherPlane() }

func KongOnly(key string) bool { return kongOnly(key) }
