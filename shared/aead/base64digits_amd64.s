#include "textflag.h"

// The steps are those of W. Mula and D. Lemire, "Faster Base64 Encoding and Decoding Using AVX2 Instructions", ACM
// Transactions on the Web 12(3), 2018. Both halves of a register are dealt with alike: 12 bytes and 16 digits each.

// Four of six bits, from three bytes: the first mask and factors take the first and the third, the second ones the
// second and the fourth.
DATA spread<>+0(SB)/8, $0x0405030401020001
DATA spread<>+8(SB)/8, $0x0a0b090a07080607
GLOBL spread<>(SB), RODATA|NOPTR, $16
DATA sixes<>+0(SB)/4, $0x0fc0fc00
DATA sixes<>+4(SB)/4, $0x04000040
DATA sixes<>+8(SB)/4, $0x003f03f0
DATA sixes<>+12(SB)/4, $0x01000010
GLOBL sixes<>(SB), RODATA|NOPTR, $16

// What is added to six bits to make a digit of them, by their class: 0 for a to z, 1 to 10 for 0 to 9, 11 for +, 12 for /,
// 13 for A to Z.
DATA toDigit<>+0(SB)/8, $0xfcfcfcfcfcfcfc47
DATA toDigit<>+8(SB)/8, $0x000041f0edfcfcfc
GLOBL toDigit<>(SB), RODATA|NOPTR, $16
DATA classes<>+0(SB)/4, $0x33333333 // 51
DATA classes<>+4(SB)/4, $0x1a1a1a1a // 26
DATA classes<>+8(SB)/4, $0x0d0d0d0d // 13
GLOBL classes<>(SB), RODATA|NOPTR, $12

// func encodeBlocks(dst, src []byte)
TEXT ·encodeBlocks(SB), NOSPLIT, $0-48
	MOVQ dst_base+0(FP), DI
	MOVQ dst_len+8(FP), CX
	MOVQ src_base+24(FP), SI
	SHRQ $5, CX
	JZ   encoded
	VBROADCASTI128 spread<>(SB), Y8
	VPBROADCASTD sixes<>+0(SB), Y9
	VPBROADCASTD sixes<>+4(SB), Y10
	VPBROADCASTD sixes<>+8(SB), Y11
	VPBROADCASTD sixes<>+12(SB), Y12
	VBROADCASTI128 toDigit<>(SB), Y13
	VPBROADCASTD classes<>+0(SB), Y14
	VPBROADCASTD classes<>+4(SB), Y15
	VPBROADCASTD classes<>+8(SB), Y7

encode:
	VMOVDQU     (SI), X0
	VINSERTI128 $1, 12(SI), Y0, Y0
	VPSHUFB     Y8, Y0, Y0
	VPAND       Y9, Y0, Y1
	VPMULHUW    Y10, Y1, Y1
	VPAND       Y11, Y0, Y0
	VPMULLW     Y12, Y0, Y0
	VPOR        Y1, Y0, Y0         // six bits a byte
	VPSUBUSB    Y14, Y0, Y1        // 0 up to 51, then 1 to 12
	VPCMPGTB    Y0, Y15, Y2        // below 26
	VPAND       Y7, Y2, Y2
	VPOR        Y2, Y1, Y1         // the class
	VPSHUFB     Y1, Y13, Y1
	VPADDB      Y1, Y0, Y0
	VMOVDQU     Y0, (DI)
	ADDQ        $24, SI
	ADDQ        $32, DI
	DECQ        CX
	JNZ         encode
	VZEROUPPER

encoded:
	RET

// What a digit may be, as bits: one table by its lower four bits, one by its upper four. No bit is in both for a digit, and
// some is for anything else.
DATA byLower<>+0(SB)/8, $0x1111111111111115
DATA byLower<>+8(SB)/8, $0x1a1b1b1b1a131111
GLOBL byLower<>(SB), RODATA|NOPTR, $16
DATA byUpper<>+0(SB)/8, $0x0804080402011010
DATA byUpper<>+8(SB)/8, $0x1010101010101010
GLOBL byUpper<>(SB), RODATA|NOPTR, $16

// What is added to a digit to make six bits of it, by its upper four bits, of which / has one taken away.
DATA toBits<>+0(SB)/8, $0xb9b9bfbf04131000
DATA toBits<>+8(SB)/8, $0x0000000000000000
GLOBL toBits<>(SB), RODATA|NOPTR, $16
DATA joins<>+0(SB)/4, $0x2f2f2f2f
DATA joins<>+4(SB)/4, $0x01400140
DATA joins<>+8(SB)/4, $0x00011000
GLOBL joins<>(SB), RODATA|NOPTR, $12
DATA gather<>+0(SB)/8, $0x090a040506000102
DATA gather<>+8(SB)/8, $0x808080800c0d0e08
GLOBL gather<>(SB), RODATA|NOPTR, $16

// func decodeBlocks(dst []byte, src string) (ok bool)
TEXT ·decodeBlocks(SB), NOSPLIT, $0-41
	MOVQ  dst_base+0(FP), DI
	MOVQ  src_base+24(FP), SI
	MOVQ  src_len+32(FP), CX
	SHRQ  $5, CX
	JZ    good
	VBROADCASTI128 byLower<>(SB), Y8
	VBROADCASTI128 byUpper<>(SB), Y9
	VBROADCASTI128 toBits<>(SB), Y10
	VPBROADCASTD joins<>+0(SB), Y11
	VPBROADCASTD joins<>+4(SB), Y12
	VPBROADCASTD joins<>+8(SB), Y13
	VBROADCASTI128 gather<>(SB), Y14
	VPXOR Y15, Y15, Y15

decode:
	VMOVDQU    (SI), Y0
	VPSRLD     $4, Y0, Y1
	VPAND      Y11, Y1, Y1         // the upper four bits, and what VPSHUFB does not look at
	VPAND      Y11, Y0, Y2
	VPSHUFB    Y2, Y8, Y2
	VPSHUFB    Y1, Y9, Y3
	VPAND      Y2, Y3, Y2
	VPOR       Y2, Y15, Y15        // what is no digit
	VPCMPEQB   Y11, Y0, Y3         // a slash: -1
	VPADDB     Y1, Y3, Y1
	VPSHUFB    Y1, Y10, Y1
	VPADDB     Y1, Y0, Y0          // six bits a byte
	VPMADDUBSW Y12, Y0, Y0         // twelve in two
	VPMADDWD   Y13, Y0, Y0         // 24 in four
	VPSHUFB    Y14, Y0, Y0
	VMOVDQU    X0, (DI)
	VEXTRACTI128 $1, Y0, 12(DI)
	ADDQ       $32, SI
	ADDQ       $24, DI
	DECQ       CX
	JNZ        decode
	VPTEST     Y15, Y15
	VZEROUPPER
	SETEQ      ok+40(FP)
	RET

good:
	MOVB $1, ok+40(FP)
	RET
