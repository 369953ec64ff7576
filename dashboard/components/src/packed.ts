// Arrays of numbers come as their bytes in base64: an eighth of the time and a third of the size of JSON lists.
export interface Packed {
  dtype: "float32" | "int32" | "uint16" | "uint8";
  base64: string;
}

type Unpacked = Float32Array | Int32Array | Uint16Array | Uint8Array;

/** Packed, or an array that was made in the browser. */
export type Numbers = Packed | Unpacked;

const KINDS = { float32: Float32Array, int32: Int32Array, uint16: Uint16Array, uint8: Uint8Array };

export function unpack(numbers: Numbers | null): Unpacked | null {
  if (!numbers || ArrayBuffer.isView(numbers)) return numbers;
  const bytes = Uint8Array.from(atob(numbers.base64), (c) => c.charCodeAt(0));
  return new KINDS[numbers.dtype](bytes.buffer);
}
