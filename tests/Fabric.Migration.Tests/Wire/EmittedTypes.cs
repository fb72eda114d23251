using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Tests.Wire;

/// <summary>Record types in assemblies of their own; written out, they would belong to this assembly and its contracts.</summary>
internal static class EmittedTypes
{
    private const MethodAttributes Override =
        MethodAttributes.Public | MethodAttributes.Virtual | MethodAttributes.HideBySig;

    public static Type EmptyMessage() => Define("Messages", "Messages.Found", typeof(object)).CreateType();

    /// <summary>A message whose one property, <c>Held</c>, is of type <paramref name="member"/>.</summary>
    public static Type MessageHolding(Type member)
    {
        var type = Define("Holders", "Holder", typeof(object));
        type.DefineField("<Held>k__BackingField", member, FieldAttributes.Private).SetCustomAttribute(
            new CustomAttributeBuilder(typeof(CompilerGeneratedAttribute).GetConstructor([])!, []));
        return type.CreateType();
    }

    /// <summary>One more case of a union, from outside the union's assembly.</summary>
    public static T ForeignCase<T>() where T : class =>
        (T)RuntimeHelpers.GetUninitializedObject(Define("Foreign", "Foreign.Case", typeof(T)).CreateType());

    private static TypeBuilder Define(string assembly, string name, Type parent)
    {
        var emitted = AssemblyBuilder.DefineDynamicAssembly(new AssemblyName(assembly), AssemblyBuilderAccess.Run);
        var type = emitted.DefineDynamicModule(assembly).DefineType(name, TypeAttributes.Public | TypeAttributes.Sealed, parent, [typeof(IWireMessage)]);
        // Never run; without one the emitter asks the parent for its own.
        type.DefineConstructor(MethodAttributes.Public, CallingConventions.Standard, []).GetILGenerator().Emit(OpCodes.Ret);
        // The method by which compilers, and the contract, know a record.
        var clone = type.DefineMethod("<Clone>$", Override, parent, []).GetILGenerator();
        clone.Emit(OpCodes.Ldarg_0);
        clone.Emit(OpCodes.Ret);
        return type;
    }
}
